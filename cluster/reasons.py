"""The telling part of Ray's long texts about an actor that died or could not begin. Pure."""

from __future__ import annotations

_MARKS = ("Worker exit detail: ", "The actor is dead because ", "Reason: ")
_OWN_PACKAGES = ("cluster", "distnn")
_MAX_LENGTH = 300


def reason(text: str) -> str:
    """One line from the text of a `RayError`: its exit detail, or the last line of a traceback."""
    if any(f"No module named '{package}" in text for package in _OWN_PACKAGES):
        return (
            "distnn is not installed there; install it on every node, or use `distnn submit`, which ships it"
        )
    for mark in _MARKS:
        if mark in text:
            detail = " ".join(text.partition(mark)[2].split())
            # What follows is advice for any death.
            return detail.partition(" Some common causes include")[0].strip().rstrip(".")[:_MAX_LENGTH]
    if "RPC error: " in text:
        detail = " ".join(text.partition("RPC error: ")[2].split()).partition(" rpc_code")[0]
        return f"the connection to it broke: {detail}"[:_MAX_LENGTH]
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:_MAX_LENGTH] if lines else "no reason given"
