"""What a run directory says it is: its spec and its recipe, checked against what was written.

The journal of events keeps the digests of `spec.json` and `recipe.json`, so that a damaged file is told from
another request. Nothing here writes but through the functions it is given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distnn.checkpoint import canonical_json
from distnn.errors import RunDirectoryError
from distnn.recipe import differences
from jobs.rundir import RunDir

ARITHMETIC_KEY = "arithmetic"
"""The entry of a recipe on machine and versions: a change there is a warning, not another run."""

POLICY_KEY = "on_nonfinite"
"""The entry that may change from `stop` to `skip`: up to there both do the same."""

SPEC_EVENT, RECIPE_EVENT = "spec", "recipe"
"""Events with the digest of what is about to be written; the recipe's also has that of what must be equal."""

Events = Sequence[Mapping[str, Any]]
OnEvent = Callable[..., None]


def content_digest(value: Any) -> str:
    """SHA-256 of a value's JSON, and of the file that keeps it."""
    return hashlib.sha256(canonical_json(value).encode() + b"\n").hexdigest()


def is_as_written(file: Path, events: Events, kind: str) -> bool:
    """Whether the bytes of a file are some that the run has written; true where the journal says nothing."""
    digests = {event.get("sha256") for event in events if event.get("kind") == kind}
    return not digests or file_digest(file) in digests


def file_digest(file: Path) -> str | None:
    """SHA-256 of a file, or None if it cannot be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None


def settle_spec(run: RunDir, spec: Mapping[str, Any], events: Events, on_event: OnEvent) -> None:
    """Keep the spec.

    Raises:
        RunDirectoryError: the run was begun with a spec that asks for another training.
    """
    if run.spec.exists() and is_as_written(run.spec, events, SPEC_EVENT):
        there = run.read_json(run.spec)
        refuse_if(run, differences(decisive(there), decisive(spec)))
    digest = content_digest(spec)
    if file_digest(run.spec) != digest:
        # First: the file is never unknown to the journal.
        on_event(SPEC_EVENT, sha256=digest, seed=spec["seed"])
        run.write_json(run.spec, spec)


def settle_recipe(
    run: RunDir, recipe: Mapping[str, Any], events: Events, on_event: OnEvent, warn: Callable[[str], None]
) -> list[str]:
    """Keep the recipe; warn if it was damaged, or if the arithmetic is that of another machine.

    Returns:
        In what the arithmetic differs from that of the run so far, an entry each.

    Raises:
        RunDirectoryError: the directory holds a run of another recipe.
    """
    known = [event for event in events if event.get("kind") == RECIPE_EVENT]
    is_there = run.recipe.exists()
    if is_there and is_as_written(run.recipe, events, RECIPE_EVENT):
        return _compare(run, recipe, on_event, warn)
    if known and (is_there or _has_trained(run)):  # else it was only about to be written
        if known[-1]["exact"] != exact_digest(recipe):
            refuse_if(run, [f"its recipe has another digest, and {run.recipe.name} is missing or damaged"])
        if is_there or run.checkpoint_steps():
            how = "was damaged" if is_there else "was missing"
            warn(f"{run.recipe.name} {how}; it is written again, from a recipe of the same digest")
    write_recipe(run, recipe, on_event)
    return []


def _has_trained(run: RunDir) -> bool:
    """Whether anything here rests on a recipe."""
    return bool(run.checkpoint_steps()) or (run.steps.is_file() and run.steps.stat().st_size > 0)


def write_recipe(run: RunDir, recipe: Mapping[str, Any], on_event: OnEvent) -> None:
    """Keep the recipe in the place of what is there."""
    on_event(RECIPE_EVENT, sha256=content_digest(recipe), exact=exact_digest(recipe))
    run.write_json(run.recipe, recipe)


def _compare(
    run: RunDir, recipe: Mapping[str, Any], on_event: OnEvent, warn: Callable[[str], None]
) -> list[str]:
    there = run.read_json(run.recipe)
    policy, wanted = there.get(POLICY_KEY, "stop"), recipe.get(POLICY_KEY, "stop")
    if (policy, wanted) == ("skip", "stop"):
        refuse_if(run, [f'{POLICY_KEY}: "skip" -> "stop", and steps may have been skipped'])
    refuse_if(run, differences(_exact(there), _exact(recipe)))
    changed = differences(there.get(ARITHMETIC_KEY) or {}, recipe.get(ARITHMETIC_KEY) or {})
    if changed:
        warn(
            f"the arithmetic of this machine differs from that of the run so far ({'; '.join(changed)}): "
            "the last bits of the weights may differ from those of an unbroken run"
        )
    if policy != wanted:
        on_event("policy-changed", on_nonfinite=wanted)
        write_recipe(run, {**recipe, ARITHMETIC_KEY: there.get(ARITHMETIC_KEY)}, on_event)
    return changed


def refuse_if(run: RunDir, found: list[str]) -> None:
    """Refuse to go on with a run that differs so.

    Raises:
        RunDirectoryError: if `found` is not empty.
    """
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise RunDirectoryError(
            f"{run.path}: holds another run ({'; '.join(found[:3])}{more}): give another directory"
        )


def exact_digest(recipe: Mapping[str, Any]) -> str:
    """SHA-256 of all that must be equal for a run to go on."""
    return hashlib.sha256(canonical_json(_exact(recipe)).encode()).hexdigest()


def _exact(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in recipe.items() if key not in (ARITHMETIC_KEY, POLICY_KEY)}


_PLACES = ("source", "options", "labels", "validation")


def decisive(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What of a spec decides the training; files may have moved, their content is in the recipe."""
    data = {k: v for k, v in spec["data"].items() if k not in _PLACES}
    training = {key: value for key, value in spec["training"].items() if key != POLICY_KEY}
    kept = {key: spec[key] for key in ("seed", "model") if key in spec}
    return {**kept, "data": data, "training": training}


def damaged_results(run: RunDir) -> list[str]:
    """What of a finished run is not as it was left, one line each."""
    try:
        digests = json.loads(run.digests.read_bytes())
        names = dict(digests)
    except (OSError, ValueError, TypeError):
        return [f"{run.digests.name} is missing or damaged"]
    found = [name for name in (run.recipe.name, run.steps.name, run.model.name) if name not in names]
    problems = [f"{run.digests.name} is damaged (it lacks {name})" for name in found]
    for name in {run.spec.name, run.recipe.name, run.steps.name, run.model.name} & names.keys():
        digest = names[name]
        there = file_digest(run.path / name)
        if there is None:
            problems.append(f"{name} is missing")
        elif there != digest:
            problems.append(f"{name} or {run.digests.name} is damaged")
    return sorted(problems)
