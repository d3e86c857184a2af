"""`--retries`, and the command line that a supervisor gives to the process that it starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def retries_option(command: Command) -> Command:
    return click.option(
        "--retries",
        type=click.IntRange(min=0),
        help="After a crash go on from the newest checkpoint, so often (default: cluster.retries, 0).",
    )(command)


def words_of(ctx: click.Context, **changes: str) -> list[str]:
    """The command line of this command for a process that makes one attempt, with some values changed."""
    given = {**ctx.params, **changes, "retries": 0}
    options: list[str] = []
    arguments: list[str] = []
    for parameter in ctx.command.params:
        value = given[str(parameter.name)]
        if isinstance(parameter, click.Argument):
            arguments.append(str(value))
        elif value is True:
            options.append(parameter.opts[0])
        elif value is not None and value is not False:
            for one in value if isinstance(value, tuple) else (value,):
                options += [parameter.opts[0], str(one)]
    return [str(ctx.command.name), *options, "--", *arguments]
