"""The command line of the examples."""

from __future__ import annotations

import argparse


def make_parser(description: str | None, *, needs_data: bool = True) -> argparse.ArgumentParser:
    """A parser of `data`, `backend`, `workers` and `save`, to which an example may add options of its own.

    Args:
        description: the example's docstring; its first line is shown by `--help`.
        needs_data: whether the example reads data from a folder.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    if needs_data:
        parser.add_argument("--data", default="data", metavar="FOLDER", help="where the data lie (data)")
    parser.add_argument("--backend", choices=("local", "threads", "ray"), default="local")
    parser.add_argument("--workers", type=int, help="that compute at the same time; the result is the same")
    parser.add_argument("--save", metavar="FILE.safetensors", help="keep the trained model")
    return parser
