"""The peer's side of `exchange.py`: gloo's all-reduce, run by the interpreter that has torch; prints JSON."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time


def work(rank: int, workers: int, sizes: list[int], seconds: float, folder: str) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=workers)
    found = {}
    for size in sizes:
        values = torch.zeros(size)
        times = []
        # All must do the same number of rounds: rank 0 says how many.
        count = torch.zeros(1)
        for _ in range(2):
            dist.all_reduce(values)
        began = time.perf_counter()
        dist.all_reduce(values)
        count[0] = max(5, min(2000, int(seconds / (time.perf_counter() - began))))
        dist.broadcast(count, 0)
        for _ in range(int(count)):
            began = time.perf_counter()
            dist.all_reduce(values)
            times.append(time.perf_counter() - began)
        found[str(size)] = statistics.median(times) * 1e3
    if rank == 0:
        print(json.dumps({"torch": torch.__version__, "ms": found}), flush=True)
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    import torch.multiprocessing as processes

    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        arguments = (options.workers, options.sizes, options.seconds, folder)
        processes.spawn(work, args=arguments, nprocs=options.workers)


if __name__ == "__main__":
    main()
