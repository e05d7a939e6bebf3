"""Selection: per cell the trial and checkpoint with the best validation result. Test data plays no part."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from raypeft.errors import UserError
from raypeft.files import write_json
from raypeft.run import Run
from raypeft.spec.plan import Cell
from raypeft.sweep.ledger import MEMORY
from raypeft.training.checkpoint import best, merit

USABLE = ("finished", "stopped")
ADAPTER_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "adapter_config.json",
    "config.json",
    "generation_config.json",
)


def select(run: Run) -> dict[Cell, dict[str, Any]]:
    """Select in every cell whose trials have all ended, and copy the selected weights to `best/`.

    Trials that ended as `nan`, `oom` or `error` are not considered. A selection once made stands.

    Returns:
        The selections, also written as `selection.json`; `trial` is none where a cell has no usable trial.
    """
    trials = list(run.trials())
    selections = {}
    for cell in run.plan.cells:
        ended = [row for row in trials if row["cell"] == cell.id]
        if len(ended) < run.plan.resolved.study.trials:
            continue
        selections[cell] = run.selection(cell) or _select(run, cell, ended)
    return selections


def selected(run: Run, cell: Cell) -> dict[str, Any]:
    """The selection of a cell that has selected weights.

    Raises:
        UserError: it has none, with the reason.
    """
    selection = run.selection(cell)
    if selection is None:
        raise UserError(
            f"{cell.id} has no selected trial yet: its trials have not all ended",
            hint=f"raypeft status {run.folder} tells how far they are.",
        )
    if selection["trial"] is None:
        raise UserError(f"{cell.id} has no selected trial: {selection['reason']}")
    return selection


def _select(run: Run, cell: Cell, ended: list[dict[str, Any]]) -> dict[str, Any]:
    select_by = run.plan.resolved.study.validation.select_by
    candidates = [
        (merit(report, select_by), row["number"], row, checkpoint, report)
        for row in ended
        if row["state"] in USABLE
        for checkpoint, report in [_best_checkpoint(run, row)]
    ]
    states = dict(Counter(row["state"] for row in ended))
    folder = run.cell_folder(cell)
    if not candidates:
        reason = "no trial could be used: " + ", ".join(f"{count} {state}" for state, count in states.items())
        if faults := sorted({row["reason"] for row in ended if row["state"] == "error"}):
            reason += f" ({'; '.join(faults)})"
        selection: dict[str, Any] = {"cell": cell.id, "trial": None, "reason": reason, "trials": states}
        write_json(folder / "selection.json", selection)
        return selection
    _, _, row, checkpoint, report = min(candidates, key=lambda candidate: candidate[:2])
    shutil.rmtree(folder / "best", ignore_errors=True)
    (folder / "best").mkdir(parents=True)
    for pattern in ADAPTER_FILES:
        for file in checkpoint.glob(pattern):
            shutil.copy2(file, folder / "best")
    selection = {
        "cell": cell.id,
        "trial": row["trial"],
        "number": row["number"],
        "hyperparameters": row["hyperparameters"],
        "paper_point": row["paper_point"],
        "checkpoint_report": report["report"],
        "validation_loss": report["validation_loss"],
        "em@10": report["em@10"],
        "training_seconds": row["training_seconds"],
        **{key: row.get(key) for key in MEMORY},
        "trainable_parameters": row["trainable_parameters"],
        "parameters": row["parameters"],
        "select_by": select_by,
        "considered": len(candidates),
        "trials": states,
    }
    write_json(folder / "selection.json", selection)
    return selection


def _best_checkpoint(run: Run, row: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    found = best(run.trial_folder(row["trial"]), run.plan.resolved.study.validation.select_by)
    if found is None:
        raise UserError(
            f"trial {row['trial']} ended as {row['state']}, but its checkpoints are gone",
            where=str(run.trial_folder(row["trial"])),
            hint="Restore them, or start anew with --fresh.",
        )
    return found
