"""How kernels are compiled and where the compiled code is kept.

`kernel` compiles lazily, releases the GIL, lets LLVM fuse `a * b + c` and nothing else (no reassociation, no
estimates: bits must not depend on vector width), counts no references (a kernel makes no array, and whoever
calls it keeps its arguments), and caches the machine code on disk under a digest of this package's source, so
that a copy of the package at another path finds the same code. `helper`, `inlined` and `emitting` are for
what kernels call. Nothing outside this package is affected. Used at import by every kernel module;
`cache_folder` and `cache_problem` are for `distnn doctor`.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite
import numba
from numba.core import caching, types
from numba.core.registry import cpu_target
from numba.core.typing.templates import infer, infer_global, make_intrinsic_template
from numba.extending import register_jitable
from numpy.typing import NDArray

Array = NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])

JIT_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}, "_nrt": False}
"""Options shared by kernels and by overloads they call. Without `_nrt` the references to arrays that helpers
take would be counted where they are called, in the innermost loops."""


@functools.cache
def source_digest() -> str:
    """Digest of this package's source and of the compilers' versions: what compiled code depends on."""
    digest = hashlib.blake2b(f"{numba.__version__} {llvmlite.__version__}".encode(), digest_size=8)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cache_root() -> Path:
    """The folder that holds compiled kernels, as the environment asks for it; it may not exist."""
    if explicit := os.environ.get("DISTNN_CACHE_DIR"):
        return Path(explicit)
    if home := os.environ.get("DISTNN_HOME"):
        return Path(home) / "cache" / "kernels"
    return Path(os.path.expanduser("~")) / ".cache" / "distnn" / "kernels"


def folder_problem(folder: Path) -> str:
    """Why compiled code must not be loaded from `folder`, or the empty string where it may be.

    The cache is the one place where distnn unpickles, so only a folder that nobody else can write is used.
    """
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is not a folder"
    if status.st_uid != os.geteuid():
        return f"{folder} belongs to user {status.st_uid}, not to user {os.geteuid()}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{folder} can be written by others (mode {stat.S_IMODE(status.st_mode):o}); chmod 700 it"
    return ""


_KEPT_VERSIONS = 8


def _forget_old_versions(root: Path) -> None:
    """Remove code of all but the newest few versions; one still in use compiles again."""
    versions = [path for path in root.iterdir() if len(path.name) == len(source_digest()) and path.is_dir()]
    versions.sort(key=lambda path: path.stat().st_mtime)
    for path in versions[:-_KEPT_VERSIONS]:
        shutil.rmtree(path, ignore_errors=True)


@functools.cache
def _prepared_cache() -> tuple[Path | None, str]:
    """The folder for this version's code, created if need be; or None and the reason."""
    root = cache_root()
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        root.mkdir(mode=0o700, exist_ok=True)
        if problem := folder_problem(root):
            return None, problem
        folder = root / source_digest()
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            _forget_old_versions(root)
        if not os.access(folder, os.W_OK | os.X_OK):
            return None, f"{folder} cannot be written"
    except (OSError, RuntimeError) as error:
        return None, f"no kernel cache: {error}"
    return folder, ""


def cache_folder() -> Path | None:
    """Where compiled kernels are kept, or None where nothing can be kept (see `cache_problem`)."""
    return _prepared_cache()[0]


def cache_problem() -> str:
    """Why compiled kernels are not kept on disk, or the empty string where they are."""
    return _prepared_cache()[1]


class _PackageLocator(caching._CacheLocator):  # type: ignore[misc]
    """Finds cached code by the package's digest instead of by a source path."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        self._py_file = py_file
        self._line = py_func.__code__.co_firstlineno

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _PackageLocator | None:
        return None if cache_folder() is None else cls(py_func, py_file)

    def ensure_cache_path(self) -> None:
        folder = cache_folder()
        assert folder is not None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return source_digest()

    def get_disambiguator(self) -> str:
        return str(self._line)


class _KernelFiles(caching.IndexDataCacheFile):  # type: ignore[misc]
    """One file per compiled signature, named by its key: no index that two processes could tear."""

    def _name(self, key: Any) -> str:
        # The key holds signature, CPU name and features, and a hash of the byte code.
        digest = hashlib.blake2b(repr((self._version, self._source_stamp, key)).encode(), digest_size=12)
        return f"{self._index_name.removesuffix('.nbi')}.{digest.hexdigest()}.nbc"

    def save(self, key: Any, data: Any) -> None:
        self._save_data(self._name(key), data)

    def load(self, key: Any) -> Any:
        try:
            return self._load_data(self._name(key))
        except OSError:
            return None

    def flush(self) -> None:
        pass


class _KernelCacheImpl(caching.CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = [_PackageLocator]


class _KernelCache(caching.FunctionCache):  # type: ignore[misc]
    """Numba's function cache, except that a damaged or full disk costs a compilation, never a failure."""

    _impl_class = _KernelCacheImpl

    def __init__(self, py_func: Any) -> None:
        super().__init__(py_func)
        self._cache_file = _KernelFiles(self._cache_path, self._impl.filename_base, source_digest())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            return None  # a torn or foreign file: compile again and write over it

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:
            self.disable()


def load_compiler() -> None:
    """Load what Numba loads when a process calls its first kernel (some 0.2 s); nothing is compiled.

    For processes that have to wait for something else anyway.
    """
    if not numba.config.DISABLE_JIT:
        cpu_target.target_context.refresh()


def _without_collector(compile_: F) -> F:
    """Compile without looking for unreachable cycles meanwhile, which took a seventh of the time.

    A compiler makes objects by the million, and most of them live until it has finished.
    """

    @functools.wraps(compile_)
    def compile_undisturbed(*arguments: Any) -> Any:
        if not gc.isenabled():
            return compile_(*arguments)
        gc.disable()
        try:
            return compile_(*arguments)
        finally:
            gc.enable()

    return cast(F, compile_undisturbed)


REGISTRY: dict[str, Callable[..., Any]] = {}
"""Every kernel imported so far, by `module.name` inside this package."""


def kernel(function: F) -> F:
    """Compile `function` on first call for each combination of argument types.

    With `NUMBA_DISABLE_JIT=1` the plain Python function is returned.
    """
    compiled: Any = numba.njit(nogil=True, no_cfunc_wrapper=True, **JIT_OPTIONS)(function)
    if compiled is not function:
        compiled.compile = _without_collector(compiled.compile)
        if cache_folder() is not None:
            compiled._cache = _KernelCache(function)
    REGISTRY[f"{function.__module__.rpartition('.')[2]}.{function.__name__}"] = compiled
    return compiled  # type: ignore[no-any-return]


def helper(function: F) -> F:
    """Let kernels call `function`, which is compiled into each; from Python it stays a plain function."""
    options = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return register_jitable(**options, **JIT_OPTIONS)(function)  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """Put `function` into its callers before types are found: it is never compiled by itself.

    Quicker to compile than a `helper` where there is one caller; dearer with every further one.
    """
    compiled: Any = numba.njit(inline="always")(function)
    return compiled  # type: ignore[no-any-return]


def emitting(function: Callable[..., Any]) -> Callable[[F], F]:
    """Let kernels that call `function` have the instructions that the decorated definition emits.

    The definition is one of Numba's `intrinsic`. From Python `function` stays what it is, and operators can
    be given meanings for new types. An `overload` that calls an intrinsic does the same, but is compiled as
    a function of its own for each type of argument, some 15 ms each.

    Args:
        function: a function of a module, or an operator; its arguments are named as the definition's are.
    """

    def define(definition: F) -> F:
        template = make_intrinsic_template(function, definition, function.__name__)
        infer(template)
        infer_global(function, types.Function(template))
        return definition

    return define
