"""Peak memory of a worker while it trains, beside that of a process of PyTorch DDP.

    python benchmarks/memory.py [--model mlp_wide] [--peer-python PYTHON] [--json FILE]

Counted is the PSS of the processes that compute: private pages whole, pages shared by n processes (code of
libraries, the memory that our workers share with each other and the coordinator) as 1/n. It is sampled from
/proc while steps run; the table shows the largest sample of each process, and of what it consists: private
pages of the heap and of anonymous maps; shared memory by file (our segment, Ray's object store); code and
data of libraries. Our coordinator is shown beside its workers, as the peer has none.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]

import psutil  # noqa: E402
from models import MLPS  # noqa: E402
from ours import Setup, one_ray, running_engine  # noqa: E402
from peers import HERE, environment  # noqa: E402
from timing import add_common_arguments, machine, spread, table, write_figures  # noqa: E402

KINDS = ("anonymous", "shared segment", "object store", "libraries")
"""Of pages."""
SAMPLE_SECONDS = 0.1
Sample = Counter[str]
"""Bytes of PSS by kind."""


def kind_of(name: str) -> str:
    if "distnn-shared" in name:
        return "shared segment"
    if "plasma" in name:
        return "object store"
    return "libraries" if name.startswith("/") else "anonymous"


def sample(pid: int) -> Sample:
    """The process's PSS by kind; nothing if it has ended."""
    found: Sample = Counter()
    kind = "anonymous"
    try:
        text = Path(f"/proc/{pid}/smaps").read_text()
    except OSError:
        return found
    for line in text.splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            kind = kind_of(line[73:].strip())
        elif line.startswith("Pss:"):
            found[kind] += int(line.split()[1]) * 1024
    return found


class Sampler:
    """Samples processes in the background; `peaks` has the largest sample of each."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.peaks: dict[int, Sample] = {pid: Counter() for pid in pids}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            for pid in self.peaks:
                self.peaks[pid] = max(self.peaks[pid], sample(pid), key=Counter.total)

    def end(self) -> dict[int, Sample]:
        self._ended.set()
        self._thread.join()
        return self.peaks


def our_peaks(model: str, workers: int, seconds: float) -> dict[str, list[Sample]]:
    """Of the workers and of the coordinator, this process."""
    with running_engine(model, Setup("ray", workers, workers)) as engine:
        pids: list[int] = engine.worker_pids  # type: ignore[attr-defined]
        sampler = Sampler([*pids, os.getpid()])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            engine.run_segment(5)
        peaks = sampler.end()
    return {"worker": [peaks[pid] for pid in pids], "coordinator": [peaks[os.getpid()]]}


def ddp_peaks(python: str, model: str, processes: int, seconds: float) -> list[Sample]:
    """Of the processes that compute, not of the one that started them."""
    command = [python, str(HERE / "peer_torch.py"), "--way", f"ddp{processes}", "--models", model]
    command += ["--seconds", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment()) as started:
        ranks: list[int] = []
        while len(ranks) < processes and started.poll() is None:
            time.sleep(SAMPLE_SECONDS)
            ranks = _ranks(started.pid)
        sampler = Sampler(ranks)
        if started.wait() != 0:
            raise SystemExit(f"{' '.join(command)} failed")
    return list(sampler.end().values())


def _ranks(parent: int) -> list[int]:
    """The processes that torch.multiprocessing has spawned, but for multiprocessing's own."""
    found = []
    for child in psutil.Process(parent).children(recursive=True):
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child.pid)
        except psutil.Error:
            continue  # it has ended
    return found


def row(name: str, samples: list[Sample]) -> list[str]:
    totals = [one.total() / 1e6 for one in samples]
    parts = [spread([one[kind] / 1e6 for one in samples], 0) for kind in KINDS]
    return [name, spread(totals, 0), *parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=list(MLPS), default="mlp_wide")
    parser.add_argument("--workers", type=int, default=2, help="of ours, and processes of the peer's")
    parser.add_argument("--seconds", type=float, default=5.0, help="of steps, per side and round")
    parser.add_argument("--peer-python", help="an interpreter that has torch")
    add_common_arguments(parser, rounds=2)
    options = parser.parse_args()
    found: dict[str, list[Sample]] = {}
    for _ in range(options.rounds):
        with one_ray([Setup("ray", options.workers, options.workers)]):
            for name, samples in our_peaks(options.model, options.workers, options.seconds).items():
                found.setdefault(f"distnn {name}", []).extend(samples)
        if options.peer_python:
            samples = ddp_peaks(options.peer_python, options.model, options.workers, options.seconds)
            found.setdefault("PyTorch DDP process", []).extend(samples)
    rows = [row(name, samples) for name, samples in found.items()]
    print(table([options.model, "peak PSS, MB", *KINDS], rows))
    print(f"\nmedian (least-most) over processes and {options.rounds} rounds; {machine()}")
    write_figures(options, found)


if __name__ == "__main__":
    main()
