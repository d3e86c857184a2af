"""`distnn run --dry-run`: what would happen, in words. Loads data and builds the model; writes nothing."""

from __future__ import annotations

import math
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.exchange.choice import choose
from distnn.data import ArrayData
from distnn.reduction import worker_ranges
from jobs.build import Job, Placement, build_job
from jobs.rundir import RunDir, run_root
from jobs.runner import rhythm_of, warnings_about
from jobs.spec import NamedObject
from jobs.specfile import load_spec


def dry_run(
    path: str, overrides: tuple[str, ...], placement: Placement, run_dir: str | None
) -> tuple[list[str], dict[str, Any]]:
    """Lines for people, and the same as facts for programs.

    Raises:
        RequestError, ValueError: what `distnn run` would refuse.
    """
    job = build_job(load_spec(path, overrides), placement)
    target = str(run_root() / f"{job.spec.name}-ID") if run_dir is None else str(RunDir(Path(run_dir)).path)
    facts = _facts(job, target)
    return [*_lines(job, facts), *(f"warning:     {text}" for text in warnings_about(job))], facts


def _facts(job: Job, target: str) -> dict[str, Any]:
    spec, data = job.spec, job.data
    training = spec.training
    batch = min(training.batch_size, data.train.num_samples)
    steps = math.ceil(data.train.num_samples / batch)
    return {
        "spec": spec.to_plain(),
        "train_samples": data.train.num_samples,
        "validation_samples": None if data.validation is None else data.validation.num_samples,
        "test_samples": None if data.test is None else data.test.num_samples,
        "parameters": job.model.count_params() if job.model.built else None,
        "steps_per_epoch": steps,
        "last_batch": data.train.num_samples - (steps - 1) * batch,
        "steps": steps * training.epochs,
        "shards_of_workers": _assignment(job),
        "exchange": _exchange(job),
        "run_dir": target,
        "host": socket.gethostname(),
    }


def _assignment(job: Job) -> list[list[int]]:
    """The shards of each worker."""
    ranges = worker_ranges(job.spec.training.shards or 1, job.workers_used)
    return [list(range(first, stop)) for first, stop in ranges]


def _exchange(job: Job) -> dict[str, str]:
    """Name and reason; nothing is connected to for it."""
    cluster = job.spec.cluster
    if cluster.backend == "local":
        name, reason = "none", "one process computes the shards in turn"
    elif cluster.backend == "threads":
        name, reason = "none", "the threads share the process's memory"
    elif cluster.exchange != "auto":
        name, reason = cluster.exchange, "asked for"
        if name == "shared_memory" and job.address is not None:
            reason += "; the run fails if a worker is placed on another node"
    elif job.address is None:
        name, reason = choose(["here"] * job.workers_used, "here")
        reason = f"Ray is started on this machine alone, so {reason}"
    else:
        name = "auto"
        reason = (
            "settled when the cluster has placed the workers: shared_memory if all are on this node, "
            "hierarchical if one has several, object_store if each has one"
        )
    return {"name": name, "reason": reason}


def _lines(job: Job, facts: dict[str, Any]) -> list[str]:
    spec, data = job.spec, job.data
    training, cluster = spec.training, spec.cluster
    shape = ", ".join(" x ".join(map(str, array.shape[1:])) or "1" for array in data.train.x)
    parts = [_part("for training", data.train), _part("for validation", data.validation)]
    parts.append(_part("for the test at the end", data.test))
    steps, last = facts["steps_per_epoch"], facts["last_batch"]
    short = "" if last == training.batch_size else f", the last of {last}"
    lines = [
        f"job:         {spec.name}, seed {spec.seed}",
        f"data:        {spec.data.source}: {', '.join(p for p in parts if p)}; {shape} values a sample, "
        f"normalize: {spec.data.normalize or 'no'}",
        *_model_lines(job),
        f"training:    {_described(training.loss)}, {_described(training.optimizer)}; {training.epochs} "
        f"epochs of {steps} steps = {facts['steps']} steps; batches of {training.batch_size}{short}",
        f"shards:      {training.shards} a step, {cluster.threads} thread(s) each; " + _workers(job, facts),
        f"exchange:    {facts['exchange']['name']}: {facts['exchange']['reason']}",
        f"checkpoints: {_rhythm(job)}",
        f"run folder:  {facts['run_dir']} on {facts['host']}",
        "Nothing has been written.",
    ]
    return lines


def _part(purpose: str, data: ArrayData | None) -> str:
    return "" if data is None else f"{data.num_samples} samples {purpose}"


def _model_lines(job: Job) -> list[str]:
    if not job.model.built:
        return [f"model:       {type(job.model).__name__} (its weights are made at the first batch)"]
    rows = [
        f"  {layer.name:<24} {shape:<20} {layer.count_params():>12,}"
        for layer, shape in job.model.summary_rows()
    ]
    return [f"model:       {job.model.count_params():,} parameters", *rows]


def _described(item: NamedObject) -> str:
    return _call(item.type, item.params)


def _call(name: str, params: Mapping[str, Any]) -> str:
    """A table with a `type` as a call: `Adam(learning_rate=CosineDecay(...))`."""
    shown = []
    for key, value in params.items():
        if isinstance(value, dict) and "type" in value:
            value = _call(value["type"], {k: v for k, v in value.items() if k != "type"})
        shown.append(f"{key}={value}")
    return f"{name}({', '.join(shown)})" if shown else name


def _workers(job: Job, facts: dict[str, Any]) -> str:
    assignment = facts["shards_of_workers"]
    if len(assignment) == 1:
        return "all in one process"
    word = "worker" if job.spec.cluster.backend == "ray" else "thread"
    shown = [f"{word} {i}: {_span(shards)}" for i, shards in enumerate(assignment[:8])]
    return "; ".join(shown) + ("; ..." if len(assignment) > 8 else "")


def _span(shards: list[int]) -> str:
    if not shards:
        return "none"
    return f"shard {shards[0]}" if len(shards) == 1 else f"shards {shards[0]}-{shards[-1]}"


def _rhythm(job: Job) -> str:
    rhythm = rhythm_of(job.spec)
    when = f"{rhythm.every_seconds:g} s" if rhythm.every_steps is None else f"{rhythm.every_steps} steps"
    return f"every {when} and at ends of epochs; the newest {rhythm.keep} are kept"
