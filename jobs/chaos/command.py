"""`distnn chaos`: options and output; the work is done by `jobs.chaos.campaign`."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from jobs.chaos.blows import OFFERED, Kind
from jobs.errors import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, RequestError

if TYPE_CHECKING:
    from jobs.chaos.campaign import Request


@click.command()
@click.argument("spec")
@click.option("--kills", type=click.IntRange(min=1), default=10, show_default=True, help="How many blows.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what, whom and when."
)
@click.option("--kinds", metavar="K,K,...", help=f"Only these: {', '.join(kind.value for kind in OFFERED)}.")
@click.option("--backend", type=click.Choice(["local", "threads", "ray"]), help="Where to compute.")
@click.option("--workers", type=click.IntRange(min=1), help="How many; never changes the bytes.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads for the products of a shard.")
@click.option("--address", metavar="A", help="A Ray cluster that this machine is a node of.")
@click.option(
    "--deadline",
    "deadline_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="How long a worker may be silent before it is treated as dead.",
)
@click.option("--run-dir", metavar="DIR", help="Keep all runs in this folder (default: kept if they differ).")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the spec; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def chaos(
    spec: str,
    kills: int,
    seed: int,
    kinds: str | None,
    backend: str | None,
    workers: int | None,
    threads: int | None,
    address: str | None,
    deadline_s: float,
    run_dir: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train what SPEC describes, undisturbed and then with everything going wrong, and compare the bytes.

    Workers and the coordinator are killed, stopped and delayed, and the disk is full, at random instants.
    Exit code 0: equal; 1: not equal, or a run failed.
    """
    from jobs.chaos.campaign import Request
    from jobs.chaos.process import Place
    from jobs.specfile import load_spec

    cluster = load_spec(spec, overrides).spec.cluster
    if address is not None and backend not in (None, "ray"):
        raise RequestError(f"--address is for --backend ray, not {backend}")
    backend = "ray" if address is not None else backend or cluster.backend
    workers = workers or (2 if cluster.workers is None else cluster.workers.max)
    chosen = _kinds(kinds)
    folder = _folder(spec, run_dir)  # nothing is written before the request is understood
    place = Place(backend, workers, address, deadline_s)
    request = Request(spec, kills, seed, folder, place, overrides, threads, chosen)
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _stop) for number in numbers}
    try:
        is_equal = _run(request, as_json)
    except BaseException:
        if run_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if is_equal and run_dir is None:
        shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(EXIT_DONE if is_equal else EXIT_FAILED)


def _run(request: Request, as_json: bool) -> bool:
    from jobs.chaos import report
    from jobs.chaos.campaign import run_campaign
    from jobs.chaos.injectors import Struck

    def say(text: str) -> None:
        click.echo(f"chaos: {text}", err=True)

    def tell(struck: Struck) -> None:
        told.append(struck)
        click.echo(report.blow_line(struck, len(told), request.kills), err=True)

    told: list[Struck] = []
    say(f"runs are in {request.folder}")
    result = run_campaign(request, say, tell)
    if as_json:
        click.echo(json.dumps(report.result_facts(result, request.seed), sort_keys=True))
    else:
        click.echo("\n".join(report.result_lines(result, request.seed)))
    return not result.trouble


def _kinds(text: str | None) -> list[Kind]:
    known = [kind.value for kind in OFFERED]
    names = [] if text is None else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise RequestError(f"--kinds: there is no '{name}'; there are {', '.join(known)}")
    return [Kind(name) for name in names]


def _folder(spec: str, run_dir: str | None) -> Path:
    from jobs.rundir import run_root

    folder = (
        run_root() / f"chaos-{Path(spec).stem}-{secrets.token_hex(3)}" if run_dir is None else Path(run_dir)
    )
    folder = folder.expanduser().absolute()
    if folder.is_dir() and any(folder.iterdir()):
        raise RequestError(f"--run-dir {folder}: is not empty: give a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _stop(number: int, frame: FrameType | None) -> None:
    sys.stderr.flush()
    raise SystemExit(EXIT_STOPPED)
