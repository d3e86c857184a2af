"""Reading a spec: from a TOML or JSON file, with `--set` overrides, into a checked `JobSpec`.

Every refusal is a `SpecError`, one line for each problem. Nothing is loaded or built here.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distnn.naming import nearest
from jobs.errors import SpecError
from jobs.problems import Problem, Source, from_validation, shown
from jobs.spec import JobSpec

_MAX_PROBLEMS = 10


@dataclass(frozen=True)
class SpecFile:
    """A spec and where it came from.

    Args:
        spec: checked.
        base_dir: its relative paths and modules are looked for here.
        source: to name places in later errors.
    """

    spec: JobSpec
    base_dir: Path
    source: Source

    def fail(self, problems: Sequence[Problem]) -> SpecError:
        """An error that names these problems and their places."""
        return _spec_error(self.source, problems)


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> SpecFile:
    """Read and check a spec.

    Args:
        path: a .toml or .json file.
        overrides: `KEY=VALUE`, such as `training.epochs=3` or `model.layers.0.units=32`; the value is read
            as TOML, or as text if it is not TOML.

    Raises:
        SpecError: if the file cannot be read, or what it says is not a job.
    """
    file = Path(path)
    text = _read(file)
    is_json = file.suffix == ".json"
    document = _parse(file, text, is_json)
    overridden: dict[tuple[str | int, ...], str] = {}
    for override in overrides:
        overridden[_apply_override(document, override)] = f"--set {override}"
    source = Source(str(path), text, is_json, overridden)
    try:
        spec = JobSpec.model_validate(document)
    except ValidationError as error:
        raise _spec_error(source, from_validation(error, JobSpec)) from None
    return SpecFile(spec, file.absolute().parent, source)


def _spec_error(source: Source, problems: Sequence[Problem]) -> SpecError:
    lines = source.describe(problems)
    if len(lines) > _MAX_PROBLEMS:
        lines[_MAX_PROBLEMS:] = [f"{source.name}: and {len(lines) - _MAX_PROBLEMS} more"]
    return SpecError(lines)


def _read(file: Path) -> str:
    if file.is_dir():
        raise SpecError([f"{file}: is a folder, expected a .toml or .json file"])
    if file.suffix not in (".toml", ".json"):
        kind = f"ends in '{file.suffix}'" if file.suffix else "has no ending"
        raise SpecError([f"{file}: {kind}, expected a .toml or .json file"])
    if not file.exists():
        folder = file.absolute().parent
        if not folder.is_dir():
            raise SpecError([f"{file}: no such file: there is no folder {folder}"])
        beside = {p.stem: p.name for p in folder.iterdir() if p.suffix in (".toml", ".json")}
        meant = nearest(file.stem, beside)
        hint = f". Did you mean '{beside[meant]}'?" if meant else ""
        raise SpecError([f"{file}: no such file{hint}"])
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError([f"{file}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise SpecError([f"{file}: is not UTF-8 text"]) from None


def _parse(file: Path, text: str, is_json: bool) -> dict[str, Any]:
    try:
        document = json.loads(text) if is_json else tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, _, at = str(error).partition(" (at ")
        where = at.rstrip(")").removeprefix("line ").partition(", column ")[0]
        place = f":{where}" if where.isdigit() else ""
        raise SpecError([f"{file}{place}: is not valid TOML: {reason}"]) from None
    except json.JSONDecodeError as error:
        raise SpecError([f"{file}:{error.lineno}: is not valid JSON: {error.msg}"]) from None
    except RecursionError:
        raise SpecError([f"{file}: is nested too deeply"]) from None
    if not isinstance(document, dict):
        raise SpecError([f"{file}: expected a table at the top, received {shown(document)}"])
    return document


def _apply_override(document: dict[str, Any], override: str) -> tuple[str | int, ...]:
    """Set one value; returns its path."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key or not all(key.split(".")):
        raise SpecError([f"--set {override}: expected KEY=VALUE, such as training.epochs=3"])
    value = _override_value(text.strip())
    at: Any = document
    path: list[str | int] = []
    parts = key.split(".")
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        place: str | int = part
        if isinstance(at, list):
            place = _index(part, at, override, ".".join(parts[:i]))
        elif not isinstance(at, dict):
            raise SpecError([f"--set {override}: {'.'.join(parts[:i])} is {shown(at)}, which has no keys"])
        path.append(place)
        if last:
            at[place] = value
        elif isinstance(at, list):
            at = at[int(place)]
        else:
            at = at.setdefault(place, {})
    return tuple(path)


def _index(part: str, at: list[Any], override: str, name: str) -> int:
    if not part.isdigit() or int(part) >= len(at):
        wanted = f"expected a number below {len(at)}, not '{part}'"
        raise SpecError([f"--set {override}: {name} is a list: {wanted}"])
    return int(part)


def _override_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text
