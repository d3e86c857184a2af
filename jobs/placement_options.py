"""Options that say where to compute: never what comes out. And what a command makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from jobs.errors import RequestError

if TYPE_CHECKING:
    from jobs.build import Placement

Command = Callable[..., Any]


def placement_options(with_threads: bool) -> Callable[[Command], Command]:
    """`--backend`, `--workers`, `--address`, and `--threads` where it matters."""

    def decorate(command: Command) -> Command:
        command = click.option(
            "--address", metavar="A", help="A Ray cluster that this machine is a node of."
        )(command)
        if with_threads:
            command = click.option(
                "--threads", type=click.IntRange(min=1), help="Threads for the products of a shard."
            )(command)
        command = click.option(
            "--workers", type=click.IntRange(min=1), help="How many; never changes the shards or the bytes."
        )(command)
        return click.option(
            "--backend", type=click.Choice(["local", "threads", "ray"]), help="Where to compute."
        )(command)

    return decorate


def exchange_option(command: Command) -> Command:
    names = ["auto", "shared_memory", "hierarchical", "object_store"]
    return click.option(
        "--exchange", type=click.Choice(names), help="How Ray workers sum gradients; never changes the bytes."
    )(command)


def deadline_option(command: Command) -> Command:
    return click.option(
        "--deadline",
        "deadline_s",
        metavar="SECONDS",
        type=click.FloatRange(min=0, min_open=True),
        help="How long a worker may be silent before it is treated as dead.",
    )(command)


def placement_of(
    backend: str | None,
    workers: int | None,
    threads: int | None,
    address: str | None,
    exchange: str | None = None,
    deadline_s: float | None = None,
) -> Placement:
    """What the options ask for.

    Raises:
        RequestError: an address for a backend that has none.
    """
    if address is not None and backend not in (None, "ray"):
        raise RequestError(f"--address is for --backend ray, not {backend}")
    from jobs.build import Placement

    chosen = "ray" if address is not None else backend
    return Placement(chosen, workers, threads, address, exchange, deadline_s)


def engine_of(backend: str | None, workers: int | None, address: str | None) -> dict[str, Any]:
    """The same as arguments of `evaluate` and `predict`."""
    placement = placement_of(backend, workers, None, address)
    return {
        "backend": placement.backend or "local",
        "workers": placement.workers,
        "address": placement.address,
    }
