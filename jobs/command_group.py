"""How the `distnn` command ends: every error one line on standard error and an exit code.

0 done, 1 the run failed, 2 the request was wrong, 3 stopped before the end, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

from jobs.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REQUEST, RequestError


class Commands(click.Group):
    """Suggests the nearest command for one that does not exist; turns errors into one line and exit 2."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            from distnn.naming import did_you_mean

            hint = did_you_mean(name, self.list_commands(ctx))
            raise RequestError(f"there is no command '{name}'.{hint or ' `distnn --help` lists them.'}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            end(EXIT_INTERRUPTED)
        except BrokenPipeError:
            # The reader (`| head`) has gone; nothing is left to say, nor to flush at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            end(EXIT_FAILED)
        except ValueError as error:
            _refuse(str(error))
        except OSError as error:
            _fail(str(error))
        except RuntimeError as error:
            from distnn.errors import ClusterUnreachableError, EngineError, UserCodeError

            if isinstance(error, ClusterUnreachableError):
                _refuse(str(error))
            if isinstance(error, UserCodeError):
                click.echo(str(error), err=True)
                end(EXIT_FAILED)
            if isinstance(error, EngineError):
                _fail(str(error))
            raise


def _refuse(message: str) -> NoReturn:
    for line in message.splitlines() or ["the request was wrong"]:
        click.echo(f"distnn: {line}", err=True)
    end(EXIT_REQUEST)


def _fail(message: str) -> NoReturn:
    click.echo(f"distnn: {message}", err=True)
    end(EXIT_FAILED)


def end(code: int) -> NoReturn:
    """End the process with an exit code."""
    raise SystemExit(code)
