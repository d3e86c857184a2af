"""`distnn stop`: options and output; the work is done by `jobs.stopping`."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("run")
@click.option("--timeout", type=click.FloatRange(min=0), default=60, show_default=True, help="In seconds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def stop(run: str, timeout: float, as_json: bool) -> None:
    """Ask RUN (id or path) to stop at a commit, with a checkpoint, and wait until it has."""
    from jobs.rundir import find_run
    from jobs.stopping import stop_run

    facts = stop_run(find_run(run), timeout)
    if as_json:
        click.echo(json.dumps(facts, sort_keys=True))
    else:
        was = "stopped" if facts["was_running"] else "is not running"
        click.echo(f"{facts['run']} {was}: {facts['state']} at step {facts['step']}")
