"""What makes the result of a cell or an in-context-learning run, as one hash: equal hashes, equal results to expect."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from raypeft.spec.plan import Cell, IclJob, Plan

RESULTS_VERSION = 2
"""Raised with every change of the package that changes results; those of another version are not taken over, except
those of version 1 that are sound (`offers.is_sound`)."""

_MODEL_LABELS = {"title", "family", "parameters", "gated", "folder"}
_DATASET_LABELS = {"title", "folder", "hub", "revision", "files", "columns", "expected_items", "origin"}


def cell_identity(plan: Plan, manifest: Mapping[str, Any], cell: Cell) -> str:
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


def icl_identity(plan: Plan, manifest: Mapping[str, Any], job: IclJob) -> str:
    """Hash of all that an in-context-learning run follows from; of training only how the model is loaded."""
    training = plan.resolved.study.training
    return _digest(
        {
            **_basis(plan, manifest, job.model, [job.dataset]),
            "job": job.id,
            "loading": [training.attention],
        }
    )


def precision_of(plan: Plan, manifest: Mapping[str, Any], model: str) -> str | None:
    """What a run's model computes in; none where that is not known.

    A run that has not recorded it was without a GPU, or says itself what it asked for.
    """
    recorded = manifest.get("precision")
    if isinstance(recorded, dict):
        found = recorded.get(model)
        return found if isinstance(found, str) else None
    asked = plan.resolved.study.training.precision
    if asked == "auto":
        return None if manifest.get("gpus") else "fp32"
    return None if asked == "fp16" else asked


def _basis(plan: Plan, manifest: Mapping[str, Any], model: str, datasets: list[str]) -> dict[str, Any]:
    study, resolved = plan.resolved.study, plan.resolved
    return {
        "model": [
            resolved.models[model].model_dump(exclude=_MODEL_LABELS),
            {key: value for key, value in manifest["models"][model].items() if key != "folder"},
        ],
        "datasets": {
            name: [
                resolved.datasets[name].model_dump(exclude=_DATASET_LABELS),
                {split: found["sha256"] for split, found in manifest["datasets"][name].items()},
            ]
            for name in datasets
        },
        "test": study.test.model_dump(),
        "protocol": study.protocol.model_dump(),
        "precision": precision_of(plan, manifest, model),
    }


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
