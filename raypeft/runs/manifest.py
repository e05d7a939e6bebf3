"""The manifest of a run: what it ran with, and on what."""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psutil

from raypeft import __version__
from raypeft.data.rows import listed
from raypeft.data.sources import SPLITS, content_hash, load_split, read_split
from raypeft.errors import UserError
from raypeft.estimate.machines import cpu, listed_gpus, output
from raypeft.output.text import discreet
from raypeft.runs.folder import Run
from raypeft.runs.identity import RESULTS_VERSION, content_of, precisions
from raypeft.runs.reading import write_record
from raypeft.runs.records import Manifest, Source, Split
from raypeft.spec.loading import PACKAGE
from raypeft.spec.plan import Plan

PACKAGES = ("torch", "ray", "optuna", "transformers", "peft", "accelerate", "tokenizers", "codebleu", "numpy")
OPTIONAL_PACKAGES = ("bitsandbytes",)


def write_manifest(
    run: Run, revisions: Mapping[str, Mapping[str, str]] | None = None, *, elsewhere: bool = False
) -> None:
    """Check that data and models are there, and write the manifest once; later executions must find the same.

    Args:
        run: the run.
        revisions: commit of each entry on the hub, by `models` and `datasets` and by name.
        elsewhere: whether trials may run on other machines than this one.

    Raises:
        UserError: data or a model is missing, or differs from what the run began with.
    """
    revisions = revisions or {}
    plan = Plan(run.plan.resolved.pinned(revisions))
    datasets = data_hashes(plan)
    if wrong := too_small(plan, {name: datasets[name]["train"].items for name in plan.resolved.study.datasets}):
        raise UserError("\n".join(wrong), where=str(run.study_file))
    models = {name: model_source(plan, name) for name in plan.resolved.models}
    known = run.manifest()
    if known.written:
        if changed := [name for name in datasets if _hashes(datasets[name]) != _hashes(known.datasets.get(name, {}))]:
            raise UserError(
                f"the data of {', '.join(changed)} differ from those this run began with",
                where=str(run.folder),
                hint="Restore the data, or start anew with --fresh or another --out.",
            )
        if changed := _changed_models(known, models):
            raise UserError(
                f"the files of {', '.join(changed)} differ from those this run began with",
                where=str(run.folder),
                hint="Restore the model's folder, or start anew with --fresh or another --out.",
            )
        return
    study = plan.resolved.study
    write_record(
        run.manifest_file,
        Manifest(
            study=plan.resolved.name,
            raypeft=__version__,
            results_version=RESULTS_VERSION,
            git=_git(),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            command=discreet(" ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])),
            versions=versions(),
            python=platform.python_version(),
            platform=platform.platform(),
            cpu=cpu(),
            cores=psutil.cpu_count(logical=True),
            memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
            gpus=_gpus(plan),
            precision=precisions(plan, elsewhere=elsewhere),
            datasets=datasets,
            models=models,
            revisions=revisions,
            seeds={
                "search": study.search.seed,
                "training": study.training.seed,
                "data": study.data.seed,
                "icl": study.icl.seeds if study.icl else [],
            },
        ),
    )


def add_gpus(run: Run, found: Sequence[str]) -> None:
    """Record the GPUs that trials run on where the driver's machine has none."""
    known = run.manifest()
    if not known.gpus:
        write_record(run.manifest_file, known.model_copy(update={"gpus": list(found)}))


def foreseen(plan: Plan, absent: Container[str]) -> Manifest:
    """What of a run's manifest its results follow from, as it would be written now (`raypeft.runs.identity`).

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
    return Manifest(
        results_version=RESULTS_VERSION,
        gpus=_gpus(plan),
        precision=precisions(plan, elsewhere=False),
        versions=versions(),
        datasets={name: _data_hashes(plan, name) for name in data},
        models={name: model_source(plan, name) for name in resolved.models if name not in absent},
    )


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


def data_hashes(plan: Plan) -> dict[str, dict[str, Split]]:
    """Of every split as the study uses it: number of items and sha256 of their content; of the file it is taken from,
    where that is, how many items it holds, which rows have none and which ids more than one item has. A joint data set
    has no test split of its own.
    """
    return {name: _data_hashes(plan, name) for name in plan.resolved.datasets}


def _data_hashes(plan: Plan, name: str) -> dict[str, Split]:
    entry = plan.resolved.datasets[name]
    hashes: dict[str, Split] = {}
    for split in SPLITS:
        if split == "test" and entry.join is not None:
            continue
        items = load_split(plan.resolved.datasets, name, split, plan.resolved.study.data)
        more: dict[str, Any] = {}
        if entry.join is None:
            found = read_split(name, entry, split)
            more = {"source": found.source, "of": len(found.items), "dropped": found.incomplete}
            more |= {"repeated_ids": found.repeated_ids}
        hashes[split] = Split(items=len(items), sha256=content_hash(items), **more)
    return hashes


def remarks(plan: Plan, hashes: Mapping[str, Mapping[str, Split]]) -> list[str]:
    """What a user should know of the data: dropped rows, and splits that are not as large as they should be."""
    lines = []
    for name, splits in hashes.items():
        expected = plan.resolved.datasets[name].expected_items
        for split, found in splits.items():
            if dropped := found.dropped:
                lines.append(f"{name}: without intent or code, so dropped from {split}: {listed(dropped)}")
            if repeated := found.repeated_ids:
                lines.append(f"{name}: ids that more than one item of {split} has: {listed(repeated)}")
            if split in expected and found.of != expected[split]:
                lines.append(f"{name}: {found.of:,} items in {split}, not the expected {expected[split]:,}")
    return lines


def _hashes(splits: Mapping[str, Split]) -> dict[str, str]:
    return {split: found.sha256 for split, found in splits.items()}


def model_source(plan: Plan, name: str) -> Source:
    """Where a model is loaded from.

    Raises:
        UserError: the folder is missing or holds no model.
    """
    entry = plan.resolved.models[name]
    where = f"catalogue.models.{name}.folder"
    folder = entry.path(where)
    if folder is None:
        return Source(hub=entry.hub, revision=entry.revision)
    if not (folder / "config.json").exists():
        raise UserError(f"{folder} holds no model: there is no config.json", where=where)
    return Source(folder=str(entry.folder), sha256=content_of(folder))


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on, as far as they are installed."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    for name in OPTIONAL_PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _changed_models(known: Manifest, models: Mapping[str, Source]) -> list[str]:
    """Models whose folders hold something else than a run's manifest says; one of another version hashes otherwise."""
    if known.results_version != RESULTS_VERSION:
        return []
    return [name for name, found in models.items() if found.sha256 != known.models.get(name, Source()).sha256]


def _git() -> str | None:
    """Commit of the checkout that the package runs from, marked where it has changes."""
    checkout = PACKAGE.parent
    return (
        output("git", "-C", str(checkout), "describe", "--always", "--dirty") if (checkout / ".git").exists() else None
    )


def _gpus(plan: Plan) -> list[str]:
    return listed_gpus() if plan.resolved.study.resources.gpus_per_trial else []
