"""Peak memory of processes that train: ours in one process and over Ray, PyTorch's alone and with DDP.

    python benchmarks/memory.py [--models mlp_wide ...] [--peer-python PYTHON] [--json FILE]

Counted is the PSS of the processes that compute: private pages whole, pages shared by n processes (code of
libraries, the memory that our workers share with each other and the coordinator) as 1/n. It is sampled from
/proc while steps run; the table shows the largest sample of each process, and of what it consists: private
pages of the heap and of anonymous maps; shared memory by file (our segment, Ray's object store); code and
data of libraries. Our coordinator is shown beside its workers, as the peer has none. Kernels are compiled
before, as the compiler would be most of what is counted.
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
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]

import psutil  # noqa: E402
from models import NETS  # noqa: E402
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


def peaks_of(command: Sequence[str], processes: int) -> list[Sample]:
    """Of a script that trains: of itself, or of the `processes` that it starts to compute."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment()) as started:
        pids = [started.pid] if processes == 1 else []
        while len(pids) < processes and started.poll() is None:
            time.sleep(SAMPLE_SECONDS)
            pids = _ranks(started.pid)
        sampler = Sampler(pids)
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


def compile_kernels(model: str, workers: int) -> None:
    """Those of both our ways."""
    command = [sys.executable, str(HERE / "step_time.py"), "--ours", "local", f"ray:{workers}"]
    command += ["--rounds", "1", "--models", model, "--seconds", "0"]
    subprocess.run(command, check=True, capture_output=True)


def one_round(options: argparse.Namespace, model: str) -> dict[str, list[Sample]]:
    """Every side's processes."""
    seconds = ["--models", model, "--seconds", str(options.seconds)]
    alone = [sys.executable, str(HERE / "step_time.py"), "--ours", "local", "--rounds", "1", *seconds]
    found = {"distnn, one process": peaks_of(alone, 1)}
    with one_ray([Setup("ray", options.workers, options.workers)]):
        for name, samples in our_peaks(model, options.workers, options.seconds).items():
            found[f"distnn over Ray, {name}"] = samples
    if options.peer_python:
        peer = [options.peer_python, str(HERE / "peer_torch.py"), *seconds]
        found["PyTorch, one process"] = peaks_of([*peer, "--way", "1"], 1)
        ways = ["--way", f"ddp{options.workers}"]
        found["PyTorch DDP, process"] = peaks_of([*peer, *ways], options.workers)
    return found


def row(name: str, samples: list[Sample]) -> list[str]:
    totals = [one.total() / 1e6 for one in samples]
    parts = [spread([one[kind] / 1e6 for one in samples], 0) for kind in KINDS]
    return [name, spread(totals, 0), *parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(NETS), default=["mlp_wide"])
    parser.add_argument("--workers", type=int, default=2, help="of ours, and processes of the peer's DDP")
    parser.add_argument("--seconds", type=float, default=5.0, help="of steps, per side and round")
    parser.add_argument("--peer-python", help="an interpreter that has torch")
    add_common_arguments(parser, rounds=2)
    options = parser.parse_args()
    found: dict[str, dict[str, list[Sample]]] = {}
    for model in options.models:
        compile_kernels(model, options.workers)
        sides = found.setdefault(model, {})
        for _ in range(options.rounds):
            for name, samples in one_round(options, model).items():
                sides.setdefault(name, []).extend(samples)
        rows = [row(name, samples) for name, samples in sides.items()]
        print(table([model, "peak PSS, MB", *KINDS], rows), end="\n\n")
    print(f"median (least-most) over processes and {options.rounds} rounds; {machine()}")
    write_figures(options, found)


if __name__ == "__main__":
    main()
