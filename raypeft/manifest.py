"""The manifest of a run: what it ran with, and on what."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from raypeft import __version__
from raypeft.data.sources import SPLITS, content_hash, load_split, read_split
from raypeft.errors import UserError
from raypeft.files import write_json
from raypeft.run import Run
from raypeft.runs.kinds import MANIFEST
from raypeft.runs.reading import write_record
from raypeft.spec.identity import RESULTS_VERSION
from raypeft.spec.loading import PACKAGE
from raypeft.spec.plan import Plan

SAMPLE = 2**20
PACKAGES = ("torch", "ray", "optuna", "transformers", "peft", "accelerate", "tokenizers", "codebleu", "numpy")


def write_manifest(run: Run, revisions: Mapping[str, Mapping[str, str]] | None = None) -> None:
    """Check that data and models are there, and write the manifest once; later executions must find the same data.

    Args:
        run: the run.
        revisions: commit of each entry on the hub, by `models` and `datasets` and by name.

    Raises:
        UserError: data or a model is missing, or the data differ from those the run began with.
    """
    revisions = revisions or {}
    plan = Plan(run.plan.resolved.pinned(revisions))
    datasets = data_hashes(plan)
    if wrong := too_small(plan, {name: datasets[name]["train"]["items"] for name in plan.resolved.study.datasets}):
        raise UserError("\n".join(wrong), where=str(run.study_file))
    models = {name: model_source(plan, name) for name in plan.resolved.models}
    known = run.manifest()
    if known:
        if changed := [
            name for name in datasets if _hashes(datasets[name]) != _hashes((known.get("datasets") or {}).get(name))
        ]:
            raise UserError(
                f"the data of {', '.join(changed)} differ from those this run began with",
                where=str(run.folder),
                hint="Restore the data, or start anew with --fresh or another --out.",
            )
        return
    study = plan.resolved.study
    write_record(
        run.manifest_file,
        MANIFEST,
        {
            "study": plan.resolved.name,
            "raypeft": __version__,
            "results_version": RESULTS_VERSION,
            "git": _git(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]]),
            "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpu": _cpu(),
            "cores": psutil.cpu_count(logical=True),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "gpus": _gpus(plan),
            "datasets": datasets,
            "models": models,
            "revisions": revisions,
            "seeds": {
                "search": study.search.seed,
                "training": study.training.seed,
                "data": study.data.seed,
                "icl": study.icl.seeds if study.icl else [],
            },
        },
    )


def add_gpus(run: Run, found: Sequence[str]) -> None:
    """Record the GPUs that trials run on where the driver's machine has none."""
    known = run.manifest()
    if not known.get("gpus"):
        write_json(run.manifest_file, {**known, "gpus": list(found)})


def foreseen(plan: Plan, absent: Container[str]) -> dict[str, Any]:
    """What of a run's manifest its results follow from, as it would be written now (`raypeft.spec.identity`).

    Args:
        plan: with its hub entries at the commits that the cache has.
        absent: names of models and data sets that cannot be read here; they are left out.
    """
    resolved = plan.resolved
    data = [
        name
        for name, entry in resolved.datasets.items()
        if not any(part in absent for part in (name, *(entry.join or ())))
    ]
    return {
        "results_version": RESULTS_VERSION,
        "gpus": _gpus(plan),
        "datasets": {name: _data_hashes(plan, name) for name in data},
        "models": {name: model_source(plan, name) for name in resolved.models if name not in absent},
    }


def too_small(plan: Plan, items: Mapping[str, int]) -> list[str]:
    """Data sets whose training items do not suffice for the study's reports or ICL examples, one line each."""
    study, wrong = plan.resolved.study, []
    for name, count in items.items():
        if (steps := study.training.steps(count)) < plan.reports:
            wrong.append(
                f"datasets.{name}: its {count} training items make {steps} steps, too few for {plan.reports} reports; "
                "use more items, a smaller training.batch or a larger training.evaluate_every"
            )
        if study.icl and max(study.icl.examples) > count:
            most = max(study.icl.examples)
            wrong.append(f"icl.examples: {most} cannot be drawn from {name}'s {count} training items")
    return wrong


def data_hashes(plan: Plan) -> dict[str, Any]:
    """Of every split as the study uses it: number of items and sha256 of their content; of the file it is taken from,
    where that is, how many items it holds and which rows have none. A joint data set has no test split of its own.
    """
    return {name: _data_hashes(plan, name) for name in plan.resolved.datasets}


def _data_hashes(plan: Plan, name: str) -> dict[str, Any]:
    entry = plan.resolved.datasets[name]
    hashes: dict[str, Any] = {}
    for split in SPLITS:
        if split == "test" and entry.join is not None:
            continue
        items = load_split(plan.resolved.datasets, name, split, plan.resolved.study.data)
        hashes[split] = {"items": len(items), "sha256": content_hash(items)}
        if entry.join is None:
            found = read_split(name, entry, split)
            hashes[split] |= {"source": found.source, "of": len(found.items), "dropped": found.incomplete}
    return hashes


def remarks(plan: Plan, hashes: Mapping[str, Any]) -> list[str]:
    """What a user should know of the data: dropped rows, and splits that are not as large as they should be."""
    lines = []
    for name, splits in hashes.items():
        expected = plan.resolved.datasets[name].expected_items
        for split, found in splits.items():
            if dropped := found.get("dropped"):
                lines.append(f"{name}: without intent or code, so dropped from {split}: {', '.join(dropped)}")
            if split in expected and found["of"] != expected[split]:
                lines.append(f"{name}: {found['of']:,} items in {split}, not the expected {expected[split]:,}")
    return lines


def _hashes(splits: Mapping[str, Any] | None) -> dict[str, str]:
    return {split: found["sha256"] for split, found in (splits or {}).items()}


def model_source(plan: Plan, name: str) -> dict[str, Any]:
    """Where a model is loaded from.

    Raises:
        UserError: the folder is missing or holds no model.
    """
    entry = plan.resolved.models[name]
    where = f"catalogue.models.{name}.folder"
    folder = entry.path(where)
    if folder is None:
        return {"hub": entry.hub, "revision": entry.revision}
    if not (folder / "config.json").exists():
        raise UserError(f"{folder} holds no model: there is no config.json", where=where)
    return {"folder": entry.folder, "sha256": sampled_hash(folder)}


def sampled_hash(folder: Path) -> str:
    """sha256 over the files of a model folder: name, size, first and last MiB, so that large weights take no time."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.name}\n{size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(SAMPLE))
            stream.seek(max(SAMPLE, size - SAMPLE))
            digest.update(stream.read(SAMPLE))
    return digest.hexdigest()


def _git() -> str | None:
    """Commit of the checkout that the package runs from, marked where it has changes."""
    checkout = PACKAGE.parent
    return (
        _output("git", "-C", str(checkout), "describe", "--always", "--dirty") if (checkout / ".git").exists() else None
    )


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return next(line.split(":", 1)[1].strip() for line in stream if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _gpus(plan: Plan) -> list[str]:
    return listed_gpus() if plan.resolved.study.resources.gpus_per_trial else []


def listed_gpus() -> list[str]:
    """This machine's GPUs with their memory, as NVIDIA's tool lists them."""
    listing = _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    return [line.strip() for line in (listing or "").splitlines() if line.strip()]


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
