"""The house: who may import whom, and where the arithmetic may not reach."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("distnn", "cluster", "jobs")
ALLOWED = {"distnn": {"distnn"}, "cluster": {"distnn", "cluster"}, "jobs": set(PACKAGES)}
PURE = ("batching", "reduction", "weights", "objective", "schedules", "losses", "metrics", "fusion")
EFFECTS = {"os", "sys", "time", "logging", "pathlib", "socket", "subprocess", "threading", "tempfile"}


def source_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def imports(path: Path, *, module_level_only: bool = False, with_type_checking: bool = True) -> set[str]:
    """Full names of the modules that a file imports."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if is_type_checking(node) and not with_type_checking:
            return
        if module_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(str(node.module))
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def tops(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_flow_one_way(package: str) -> None:
    for path in source_files(package):
        used = tops(imports(path)) & set(PACKAGES)
        assert used <= ALLOWED[package], f"{path} imports {used - ALLOWED[package]}"


def test_numba_stays_in_the_kernels() -> None:
    for package in PACKAGES:
        for path in source_files(package):
            if "numba" in tops(imports(path, module_level_only=True)):
                assert path.parent.name == "kernels", path


def test_pydantic_stays_in_jobs_and_ray_out_of_the_core() -> None:
    for path in source_files("distnn"):
        assert not tops(imports(path)) & {"pydantic", "ray", "click"}, path
    for path in source_files("cluster"):
        assert "pydantic" not in tops(imports(path)), path


def test_ray_is_never_imported_when_a_module_is() -> None:
    for package in ("cluster", "jobs"):
        for path in source_files(package):
            at_import = imports(path, module_level_only=True, with_type_checking=False)
            assert "ray" not in tops(at_import), path


def test_arithmetic_has_no_effects() -> None:
    for name in PURE:
        folder, file = ROOT / "distnn" / name, ROOT / "distnn" / f"{name}.py"
        for path in folder.glob("*.py") if folder.is_dir() else [file]:
            used = tops(imports(path)) & EFFECTS
            assert not used, f"{path} imports {used}"


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def with_packages(names: set[str]) -> set[str]:
    """Importing a module runs the packages it lies in."""
    return {name.rsplit(".", depth)[0] for name in names for depth in range(name.count(".") + 1)}


def test_no_module_level_cycles() -> None:
    modules = {module_name(path): path for package in PACKAGES for path in source_files(package)}
    graph = {
        name: {
            used
            for used in with_packages(imports(path, module_level_only=True, with_type_checking=False))
            if used in modules and used != name and not name.startswith(f"{used}.")
        }
        for name, path in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"cycle: {' -> '.join((*trail[trail.index(name) :], name))}"
        if name not in done:
            for used in sorted(graph[name]):
                visit(used, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_no_layer_has_a_backward_of_its_own() -> None:
    for path in source_files("distnn/layers"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert not {"backward", "gradient", "grad", "backprop"} & set(node.name.split("_")), (
                    f"{path}: {node.name}"
                )


@pytest.mark.parametrize("module", ["distnn", "distnn.models", "cluster", "jobs.cli"])
def test_importing_needs_no_ray(module: str) -> None:
    code = f"import sys, {module}; sys.exit('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT, timeout=60)
    assert done.returncode == 0, f"{module} imports ray"


def test_no_pickle_is_read_anywhere() -> None:
    """Files are read by safetensors, json and NumPy without pickle; Ray's own transport is not a file.

    Keras's data sets are pickles: one file reads them, by their hashes and as plain data.
    """
    restricted = ROOT / "distnn" / "datasets" / "restricted_pickles.py"
    for package in PACKAGES:
        for path in source_files(package):
            if path == restricted:
                continue
            assert not tops(imports(path)) & {"pickle", "shelve", "marshal", "dill", "joblib"}, path
