"""The `distnn` command: options and output only; the work is done by the modules it calls.

Results go to standard output, progress and remarks to standard error; `command_group` says how it ends. Heavy
modules are imported by the commands that need them, so that `distnn --help` is quick.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from jobs.chaos.command import chaos
from jobs.command_group import Commands, end
from jobs.errors import EXIT_DONE, EXIT_FAILED
from jobs.placement_options import (
    deadline_option,
    engine_of,
    exchange_option,
    placement_of,
    placement_options,
)
from jobs.retry_option import retries_option, words_of
from jobs.stop_command import stop

if TYPE_CHECKING:
    from jobs.runner import Outcome

Command = Callable[..., Any]


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from jobs.installation import version

        click.echo(f"distnn {version()}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show it."
)
def cli() -> None:
    """Train neural networks on CPUs: the same bytes on any number of workers."""
    from jobs.installation import check_packages

    check_packages()


def _json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(
        command
    )


@cli.command()
@click.argument("spec")
@placement_options(with_threads=True)
@exchange_option
@deadline_option
@click.option("--run-dir", metavar="DIR", help="Keep the run here (default: $DISTNN_HOME/runs/NAME-ID).")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the spec; repeatable.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and write nothing.")
@retries_option
@_json_option
@click.pass_context
def run(
    ctx: click.Context,
    spec: str,
    backend: str | None,
    workers: int | None,
    threads: int | None,
    address: str | None,
    exchange: str | None,
    deadline_s: float | None,
    run_dir: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    retries: int | None,
    as_json: bool,
) -> None:
    """Train what SPEC (.toml or .json) describes."""
    from jobs.specfile import load_spec

    file = load_spec(spec, overrides)  # told before the slower imports
    placement = placement_of(backend, workers, threads, address, exchange, deadline_s)
    if dry_run:
        from jobs import dryrun

        lines, facts = dryrun.dry_run(spec, overrides, placement, run_dir)
        click.echo(json.dumps(facts, sort_keys=True) if as_json else "\n".join(lines))
        return
    retries = file.spec.cluster.retries if retries is None else retries
    if retries:
        from jobs.retries import supervise
        from jobs.rundir import RunDir, new_run_dir

        place = new_run_dir(file.spec.name) if run_dir is None else RunDir(Path(run_dir))
        end(supervise(words_of(ctx, run_dir=str(place.path)), place, retries, sys.stderr))
    from jobs.runner import run_spec

    _report(
        run_spec(spec, overrides=overrides, placement=placement, run_dir=run_dir, err=sys.stderr), as_json
    )


@cli.command()
@click.argument("run")
@placement_options(with_threads=False)
@exchange_option
@retries_option
@click.option(
    "--accept-changes", is_flag=True, help="Go on even if recorded steps do not come to the same bytes now."
)
@deadline_option
@_json_option
@click.pass_context
def resume(
    ctx: click.Context,
    run: str,
    backend: str | None,
    workers: int | None,
    address: str | None,
    exchange: str | None,
    retries: int | None,
    accept_changes: bool,
    deadline_s: float | None,
    as_json: bool,
) -> None:
    """Go on with RUN (id or path) from its newest checkpoint, to the same bytes.

    A step or two that were recorded are computed again first; if they differ, nothing is changed.
    """
    from jobs.rundir import find_run

    found = find_run(run)
    if retries is None and found.spec.is_file():
        from jobs.specfile import load_spec

        retries = load_spec(found.spec).spec.cluster.retries
    if retries:
        from jobs.retries import supervise

        end(supervise(words_of(ctx, run=str(found.path)), found, retries, sys.stderr))
    from jobs.runner import resume_run

    placement = placement_of(backend, workers, None, address, exchange, deadline_s)
    outcome = resume_run(found, placement=placement, accept_changes=accept_changes, err=sys.stderr)
    _report(outcome, as_json)


@cli.command()
@click.argument("run")
@click.option("--data", metavar="D", help="As a spec's data.source; default: what the run held out.")
@click.option("--labels", metavar="F", help="For a .npy file: the .npy file with the targets.")
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True)
@placement_options(with_threads=False)
@_json_option
def evaluate(
    run: str,
    data: str | None,
    labels: str | None,
    batch_size: int,
    backend: str | None,
    workers: int | None,
    address: str | None,
    as_json: bool,
) -> None:
    """Measure the model of RUN (id, path, or a model file) on data."""
    from jobs import inference

    trained = inference.load_trained(run)
    try:
        logs = inference.evaluate(trained, data, labels, engine_of(backend, workers, address), batch_size)
    finally:
        trained.model.close()
    if as_json:
        click.echo(json.dumps(logs, sort_keys=True))
    else:
        for name, value in logs.items():
            click.echo(f"{name:<12} {value:.6g}")


@cli.command()
@click.argument("run")
@click.option("--data", metavar="D", required=True, help="A .npy, .npz or .csv file, or as a spec's source.")
@click.option("--out", metavar="F", required=True, help="A .npy, .npz or .csv file.")
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True)
@placement_options(with_threads=False)
@_json_option
def predict(
    run: str,
    data: str,
    out: str,
    batch_size: int,
    backend: str | None,
    workers: int | None,
    address: str | None,
    as_json: bool,
) -> None:
    """Write the outputs of the model of RUN (id, path, or a model file) for data."""
    from jobs import inference

    trained = inference.load_trained(run)
    try:
        path, count = inference.predict(trained, data, out, engine_of(backend, workers, address), batch_size)
    finally:
        trained.model.close()
    click.echo(json.dumps({"out": str(path), "samples": count}) if as_json else f"{path}: {count} samples")


@cli.command()
@_json_option
def ls(as_json: bool) -> None:
    """List the runs under $DISTNN_HOME/runs."""
    from jobs import listing
    from jobs.rundir import list_runs, run_root

    if as_json:
        click.echo(json.dumps([listing.describe_run(run) for run in list_runs()]))
    elif not list_runs():
        click.echo(f"no runs in {run_root()}", err=True)
    else:
        click.echo("\n".join(listing.list_lines()))


@cli.command()
@click.argument("run")
@_json_option
def status(run: str, as_json: bool) -> None:
    """Show how RUN (id or path) stands."""
    from jobs import listing
    from jobs.rundir import find_run

    found = find_run(run)
    click.echo(json.dumps(listing.describe_run(found)) if as_json else "\n".join(listing.status_lines(found)))


@cli.command()
@click.argument("run")
@click.argument("workers", metavar="N", type=click.IntRange(min=1))
def scale(run: str, workers: int) -> None:
    """Let a live RUN (id or path) go on with N workers; the bytes stay the same."""
    from jobs.rundir import find_run

    found = find_run(run)
    from jobs import scaling

    click.echo("\n".join(scaling.scale(found, workers)))


@cli.command()
@click.argument("run")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
def logs(run: str, follow: bool) -> None:
    """Show the logs of RUN (id or path)."""
    from jobs import listing
    from jobs.rundir import find_run

    listing.follow_logs(find_run(run), sys.stdout, follow=follow)


@cli.command()
@_json_option
def doctor(as_json: bool) -> None:
    """Check this machine: what is there, what is wrong, and how to mend it."""
    from jobs import doctor as checks

    found = checks.examine()
    click.echo(json.dumps([c.to_plain() for c in found]) if as_json else "\n".join(checks.lines(found)))
    end(EXIT_FAILED if any(check.is_broken for check in found) else EXIT_DONE)


@cli.command()
def schema() -> None:
    """Print the JSON schema of specs."""
    from jobs.spec import JobSpec

    click.echo(json.dumps(JobSpec.model_json_schema(), indent=2))


@cli.command()
@click.argument("spec")
@click.option(
    "--address",
    metavar="URL",
    help="The cluster's job service (default: $RAY_API_SERVER_ADDRESS or the "
    "one on this machine, http://127.0.0.1:8265).",
)
@click.option("--follow", is_flag=True, help="Show the job's log and end with its exit code.")
@click.option("--install-deps", is_flag=True, help="Let the cluster install what distnn needs (pip).")
@click.option("--no-ship", is_flag=True, help="Use the distnn that is installed on the cluster.")
@click.option("--run-dir", metavar="DIR", help="On the cluster: a folder on a shared path, best.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the spec; repeatable.")
@_json_option
def submit(
    spec: str,
    address: str | None,
    follow: bool,
    install_deps: bool,
    no_ship: bool,
    run_dir: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Hand SPEC to the job service of a Ray cluster."""
    from jobs.specfile import load_spec

    file = load_spec(spec, overrides)
    from jobs import submit as submission

    options = submission.Options(address, run_dir, follow, install_deps, not no_ship)
    end(submission.submit(file, options, as_json=as_json, out=sys.stdout, err=sys.stderr))


def _report(outcome: Outcome, as_json: bool) -> NoReturn:
    """The result on standard output, and the end of the process."""
    from jobs.outlet import outlet

    facts, say = outcome.facts, partial(click.echo, file=outlet(sys.stdout))
    if as_json:
        say(json.dumps(facts, sort_keys=True))
    elif outcome.exit_code == EXIT_DONE:
        from jobs.installation import program
        from jobs.rundir import command_name

        name = command_name(outcome.run)
        for key, value in facts["metrics"].items():
            say(f"{key:<14} {value:.4f}")
        say(f"{'model':<14} {facts['model']}")
        say(f"{'next':<14} {program()} predict {name} --data FILE --out predictions.csv")
        say(f"{'':<14} {program()} evaluate {name} --data FILE")
    end(outcome.exit_code)


cli.add_command(chaos)
cli.add_command(stop)


def main() -> NoReturn:
    """The entry point."""
    cli.main(prog_name="distnn", standalone_mode=True)
    end(EXIT_DONE)


if __name__ == "__main__":
    main()
