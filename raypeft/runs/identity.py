"""What makes the result of a cell or an in-context-learning run, as one hash: equal hashes, equal results to expect."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from raypeft.errors import UserError
from raypeft.estimate.machines import capabilities
from raypeft.hub import cached_snapshot
from raypeft.output.files import read_json
from raypeft.runs.folder import Run
from raypeft.runs.records import Manifest
from raypeft.spec.catalogue import ModelEntry
from raypeft.spec.plan import Cell, IclJob, Plan
from raypeft.spec.sections import Effective, foreseen_precision

RESULTS_VERSION = 2
"""Raised with every change of the package that changes results; those of another version are not taken over, except
those of version 1 whose base models stayed whole (`offers.left_bases_whole`)."""

# They say something of a model, and change nothing in what it computes.
BESIDE = ("readme", "license", "licence", "notice", "use_policy")
BESIDE_KINDS = frozenset({".md", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg"})
_MODEL_LABELS = {"title", "family", "parameters", "gated", "folder"}
_DATASET_LABELS = {"title", "folder", "hub", "revision", "files", "columns", "expected_items", "origin"} | {
    "configuration",
    "splits",
}


def cell_identity(plan: Plan, manifest: Manifest, cell: Cell) -> str:
    """Hash of all that a cell's trials, selection and tests follow from.

    Not in it: titles, the question, where data and models lie (their content counts), resources, and what only a search
    has when the study has none.

    Args:
        plan: plan of the run.
        manifest: its manifest, for the content of data and models.
        cell: one of its cells.
    """
    study = plan.resolved.study
    technique = plan.resolved.techniques[cell.technique]
    searching = study.mode == "search"
    unused = {"precision"} if technique.quantization else {"precision", "quantized_rest"}
    return _digest(
        {
            **_basis(plan, manifest, cell.model, [cell.dataset, *plan.tests(cell)]),
            "cell": cell.id,
            "technique": technique.model_dump(mode="json", exclude={"title"} if searching else {"title", "search"}),
            "first_point": plan.resolved.points[cell.technique],
            "search": study.search.model_dump() if searching else None,
            "stopping": study.stopping.model_dump() if study.stopping else None,
            "training": study.training.model_dump(exclude=unused),
            "validation": study.validation.model_dump(),
            "subsets_seed": study.data.seed,
        }
    )


def icl_identity(plan: Plan, manifest: Manifest, job: IclJob) -> str:
    """Hash of all that an in-context-learning run follows from; of training only how the model is loaded."""
    training = plan.resolved.study.training
    return _digest(
        {
            **_basis(plan, manifest, job.model, [job.dataset]),
            "job": job.id,
            "loading": [training.attention],
        }
    )


def precision_of(plan: Plan, manifest: Manifest, model: str) -> str | None:
    """What a run's model computes in; none where that is not known.

    A run that has not recorded it was without a GPU, or says itself what it asked for.
    """
    if manifest.precision is not None:
        return manifest.precision.get(model)
    asked = plan.resolved.study.training.precision
    if asked == "auto":
        return None if manifest.gpus else "fp32"
    return None if asked == "fp16" else asked


def precisions(plan: Plan, *, elsewhere: bool) -> dict[str, Effective | None]:
    """What each model computes in, none where it cannot be told before a trial runs.

    Args:
        plan: the plan.
        elsewhere: whether trials may run on other machines than this one.
    """
    resolved = plan.resolved
    on_gpus, precision = resolved.study.resources.gpus_per_trial > 0, resolved.study.training.precision
    found = (None if elsewhere else capabilities()) if on_gpus else []
    return {
        name: foreseen_precision(precision, _model_type(name, entry), found) for name, entry in resolved.models.items()
    }


def check_precision(run: Run, *, elsewhere: bool = False) -> None:
    """Raise where a run would go on in another precision than it has computed in, as far as that can be told.

    Args:
        run: its manifest is written.
        elsewhere: whether trials may run on other machines than this one.

    Raises:
        UserError: `training.precision: auto` comes to another one on this machine.
    """
    manifest = run.manifest()
    if manifest.precision is None:
        return
    wrong = [
        f"{name} has computed in {known} in this run, and would go on in {here} here"
        for name, here in precisions(run.plan, elsewhere=elsewhere).items()
        if here and (known := precision_of(run.plan, manifest, name)) and known != here
    ]
    if wrong:
        raise UserError(
            "\n".join(wrong),
            where=str(run.folder),
            hint="Go on with it on a machine as before, or start anew with --fresh or another --out.",
        )


def content_of(folder: Path) -> str:
    """SHA-256 over names and contents of a model folder's files: weights, configuration, tokenizer, code.

    Where the folder lies, hidden files and what only describes the model do not count. Large weights take a second or
    so a gigabyte, once a process as long as size and time of the file stay.
    """
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file() and _counts(path)):
        found = file.stat()
        digest.update(f"{file.name}\n{_file_hash(str(file.resolve()), found.st_size, found.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def _basis(plan: Plan, manifest: Manifest, model: str, datasets: list[str]) -> dict[str, Any]:
    study, resolved = plan.resolved.study, plan.resolved
    return {
        "model": [
            resolved.models[model].model_dump(exclude=_MODEL_LABELS),
            manifest.models[model].model_dump(exclude={"folder"}, exclude_unset=True),
        ],
        "datasets": {
            name: [
                resolved.datasets[name].model_dump(exclude=_DATASET_LABELS),
                {split: found.sha256 for split, found in manifest.datasets[name].items()},
            ]
            for name in datasets
        },
        "test": study.test.model_dump(),
        "protocol": study.protocol.model_dump(),
        "precision": precision_of(plan, manifest, model),
    }


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _model_type(name: str, entry: ModelEntry) -> str | None:
    """What transformers calls the architecture, by the model's configuration where it is here."""
    try:
        folder = entry.path(f"catalogue.models.{name}.folder") or cached_snapshot(str(entry.hub), entry.revision)
    except UserError:
        return None
    config = read_json(folder / "config.json") if folder else None
    return config.get("model_type") if isinstance(config, dict) else None


def _counts(file: Path) -> bool:
    name = file.name.lower()
    return not name.startswith((".", *BESIDE)) and file.suffix.lower() not in BESIDE_KINDS


@lru_cache(maxsize=4096)
def _file_hash(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
