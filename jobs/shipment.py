"""What travels with a submitted job: a folder made on the fly, the same for the same content.

It holds the packages distnn, cluster and jobs, the spec as JSON, small data files, and the user's modules
that the spec names, with what they import beside it. Nothing here knows of Ray.
"""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distnn.rng import draw_seed
from jobs.installation import PACKAGES, check_packages
from jobs.problems import Problem
from jobs.specfile import SpecFile

MAX_DATA_BYTES = 100 << 20
"""Data files travel up to this size in all; beyond it they belong on a path that the cluster sees."""

SPEC_NAME = "spec.json"
START_NAME = "distnn_start.py"
_PACKAGE_SUFFIXES = (".py", ".typed", ".npz", ".md")
_FILE_KEYS = ("source", "labels", "validation", "validation_labels")


@dataclass
class Shipment:
    """What was put into the folder, and remarks for the user."""

    folder: Path
    modules: list[str] = field(default_factory=list)
    data_bytes: int = 0
    remarks: list[str] = field(default_factory=list)

    def digest(self) -> str:
        """Of the whole content; the same for the same files."""
        state = hashlib.sha256()
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            state.update(f"{path.relative_to(self.folder)}\0".encode())
            state.update(hashlib.sha256(path.read_bytes()).digest())
        return state.hexdigest()


def stage(file: SpecFile, folder: Path, *, ship_package: bool) -> Shipment:
    """Fill an empty folder with all that the job needs.

    Raises:
        SpecError: a data file is too large to travel, or a module of the user hides one of ours.
    """
    shipment = Shipment(folder)
    root = check_packages()
    if ship_package:
        for name in PACKAGES:
            _copy_package(root / name, folder / name)
    shutil.copyfile(root / "jobs" / "remote_start.py", folder / START_NAME)
    plain = file.spec.to_plain()
    plain.setdefault("seed", draw_seed())
    _ship_data(file, plain["data"], shipment)
    _ship_modules(file, shipment)
    (folder / SPEC_NAME).write_text(json.dumps(plain, indent=2, sort_keys=True) + "\n")
    return shipment


def _copy_package(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.suffix in _PACKAGE_SUFFIXES and "__pycache__" not in path.parts:
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


# Data


def _ship_data(file: SpecFile, data: dict[str, Any], shipment: Shipment) -> None:
    """Copy the data files and let the spec name the copies."""
    for key in _FILE_KEYS:
        name = data.get(key)
        if name is None or name.startswith(("builtin:", "python:")):
            continue
        path = (file.base_dir / Path(name).expanduser()).absolute()
        size = path.stat().st_size if path.is_file() else None
        is_shared = Path(name).is_absolute()
        if size is None and not is_shared:
            raise file.fail([Problem(("data", key), f"{path}: no such file")])
        if size is None or (is_shared and shipment.data_bytes + size > MAX_DATA_BYTES):
            shipment.remarks.append(f"data.{key} does not travel: the cluster must see {path}")
            data[key] = str(path)
            continue
        if shipment.data_bytes + size > MAX_DATA_BYTES:
            message = (
                f"{path} has {size / 1e6:.0f} MB; data files travel up to {MAX_DATA_BYTES >> 20} MiB in all: "
                "put it on a path that the cluster sees too, and give that absolute path"
            )
            raise file.fail([Problem(("data", key), message)])
        shipment.data_bytes += size
        data[key] = f"data/{key}{path.suffix}"
        (shipment.folder / "data").mkdir(exist_ok=True)
        shutil.copyfile(path, shipment.folder / data[key])
    for name, value in (file.spec.data.options or {}).items():
        if isinstance(value, str) and Path(value).expanduser().exists():
            by_its = "" if Path(value).is_absolute() else " by an absolute path"
            shipment.remarks.append(
                f"data.options.{name} does not travel: the cluster must see {value}{by_its}"
            )


# The user's modules


def _ship_modules(file: SpecFile, shipment: Shipment) -> None:
    for place, module in _named_modules(file):
        top = module.partition(".")[0]
        if top in PACKAGES:
            message = f"a module of yours cannot be called '{top}': distnn has a package of that name"
            raise file.fail([Problem(place, message)])
        if not _ship_module(file.base_dir, top, shipment):
            shipment.remarks.append(
                f"module '{top}' is not beside the spec and does not travel: the cluster must have it"
            )


def _named_modules(file: SpecFile) -> list[tuple[tuple[str, str], str]]:
    named = []
    if file.spec.model.factory is not None:
        named.append((("model", "factory"), file.spec.model.factory.partition(":")[0]))
    for key in ("source", "validation"):
        source = getattr(file.spec.data, key)
        if source is not None and source.startswith("python:"):
            named.append((("data", key), source.split(":")[1]))
    return named


def _ship_module(base_dir: Path, top: str, shipment: Shipment) -> bool:
    """Copy a module or package beside the spec, and what it imports from there."""
    if top in shipment.modules:
        return True
    source = base_dir / top
    files = [base_dir / f"{top}.py"]
    if source.is_dir():
        files = sorted(p for p in source.rglob("*.py") if "__pycache__" not in p.parts)
    files = [path for path in files if path.is_file()]
    if not files:
        return False
    shipment.modules.append(top)
    for path in files:
        copy = shipment.folder / path.relative_to(base_dir)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for path in files:
        for name in _imported(path):
            if name not in PACKAGES:
                _ship_module(base_dir, name, shipment)
    return True


def _imported(path: Path) -> set[str]:
    """Top-level names of what a Python file imports absolutely; none if it cannot be parsed."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names
