"""Functions of the user that load data: `python:MODULE:FUNCTION`, the module beside the spec.

They are called once, in the process that drives a run. What they return is looked at in `sources`.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distnn.errors import DataError
from distnn.naming import did_you_mean


class LoaderOptionError(DataError):
    """An option that the loader does not take, or one that it needs and was not given.

    Args:
        option: its name.
        message: what is wrong with it.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(option, message)
        self.option = option

    def __str__(self) -> str:
        return str(self.args[1])


def split_name(source: str) -> tuple[str, str]:
    """Module and function of `python:MODULE:FUNCTION`."""
    parts = source.split(":")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise DataError(f"data source {source!r} is not complete: expected 'python:MODULE:FUNCTION'")
    return parts[1], parts[2]


def call_loader(source: str, base_dir: Path, options: Mapping[str, Any]) -> Any:
    """What the function returns when it is called with `options`.

    Args:
        source: `python:MODULE:FUNCTION`.
        base_dir: the module is looked for here, then on the Python path.
        options: keyword arguments.

    Raises:
        DataError: there is no such function, it does not take the options, or it failed. A loader that ends
            with `sys.exit("...")` has that sentence told as it is.
    """
    module_name, function_name = split_name(source)
    with _on_path(base_dir):
        function = _find_function(source, module_name, function_name, base_dir)
        _check_options(source, function, options)
        try:
            return function(**options)
        except (DataError, SystemExit) as error:
            raise DataError(f"{source}: {error}") from error
        except Exception as error:
            raise DataError(f"{source}: the loader failed: {type(error).__name__}: {error}") from error


def _check_options(source: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):  # of some functions written in C
        return
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    names = [p.name for p in named]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for key in options:
        if key not in names and not takes_any:
            hint = did_you_mean(key, names)
            raise LoaderOptionError(
                key, f"{source} has no option '{key}'.{hint} It takes: {', '.join(names) or 'none'}"
            )
    for parameter in named:
        if parameter.default is parameter.empty and parameter.name not in options:
            raise LoaderOptionError(
                parameter.name, f"the option '{parameter.name}' is required by {source} and not given"
            )


def _find_function(source: str, module_name: str, name: str, base_dir: Path) -> Callable[..., Any]:
    _forget_namesake(module_name, base_dir)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        where = f" (looked in {base_dir} and the Python path)" if missing == module_name else ""
        raise DataError(f"{source}: there is no module '{missing}'{where}") from error
    except Exception as error:
        raise DataError(
            f"{source}: importing '{module_name}' failed: {type(error).__name__}: {error}"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        there = sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))
        raise DataError(
            f"{source}: module '{module_name}' has no function '{name}'.{did_you_mean(name, there)} "
            f"It has: {', '.join(there) or 'none'}"
        )
    found: Callable[..., Any] = function
    return found


def _forget_namesake(module_name: str, base_dir: Path) -> None:
    """Drop an imported module of that name if `base_dir` has another one, so that the latter is found."""
    importlib.invalidate_caches()
    top = module_name.partition(".")[0]
    loaded = getattr(sys.modules.get(top), "__file__", None)
    candidates = (base_dir / f"{top}.py", base_dir / top / "__init__.py")
    own = next((path.resolve() for path in candidates if path.is_file()), None)
    if loaded is not None and own is not None and Path(loaded).resolve() != own:
        for name in [n for n in sys.modules if n == top or n.startswith(top + ".")]:
            del sys.modules[name]


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """Let modules beside the spec be imported, before all others, for the time of the call."""
    entry = str(folder.absolute())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
