"""Selection: per cell the trial and checkpoint with the best validation result. Test data plays no part."""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

from raypeft.errors import UserError
from raypeft.runs.checkpoints import Checkpoint, SelectBy, rank_key, with_weights
from raypeft.runs.folder import Run
from raypeft.runs.ledger import MEMORY
from raypeft.runs.reading import SELECTION, write_record
from raypeft.runs.records import USABLE, State
from raypeft.spec.plan import Cell

ADAPTER_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "adapter_config.json",
    "config.json",
    "generation_config.json",
)


def select(run: Run, say: Callable[[str], None] = lambda text: None) -> dict[Cell, dict[str, Any]]:
    """Select in every cell whose trials have all ended, and copy the selected weights to `best/`.

    Trials that ended as `nan`, `oom` or `error` are not considered. A selection once made stands, unless the study has
    got further trials since, or the weights in `best/` are damaged before they are tested. Where it then changes, the
    test results go. Where the best checkpoint is damaged or gone the next best is taken, with a `notice`; where none is
    intact nothing is selected in the cell, with the reason, until one is restored.

    Args:
        run: the run.
        say: shows a notice.

    Returns:
        The selections, also written as `selection.json`; `trial` is none where a cell has no usable trial.
    """
    trials = list(run.trials())
    selections = {}
    for cell in run.plan.cells:
        ended = [row for row in trials if row["cell"] == cell.id]
        if len(ended) < run.plan.resolved.study.trials:
            continue
        before = run.selection(cell)
        if before and stands(run, cell, before):
            selections[cell] = before
            continue
        selections[cell] = _select(run, cell, ended, before)
        if notice := selections[cell].get("notice"):
            run.note(notice, cell=cell.id)
            say(f"{cell.id}: {notice}")
    return selections


def selected(run: Run, cell: Cell) -> dict[str, Any]:
    """The selection of a cell that has selected weights.

    Raises:
        UserError: it has none, with the reason.
    """
    selection = run.selection(cell)
    if selection is None:
        if fault := run.reading.faults.get(run.selection_file(cell)):
            hint = "raypeft study makes it again." if fault.mendable else None
            raise UserError(fault.what, where=str(run.selection_file(cell)), hint=hint)
        raise UserError(
            f"{cell.id} has no selected trial yet: its trials have not all ended",
            hint=f"raypeft status {run.folder} tells how far they are.",
        )
    if selection["trial"] is None:
        raise UserError(f"{cell.id} has no selected trial: {selection['reason']}")
    return selection


def stands(run: Run, cell: Cell, selection: Mapping[str, Any]) -> bool:
    """Whether a selection was made from all trials of the study, and its weights are there if a test may need them."""
    if sum((selection["trials"] or {}).values()) < run.plan.resolved.study.trials:
        return False
    if selection.get("lost"):
        ended = [row for row in run.trials() if row["cell"] == cell.id and row["state"] in USABLE]
        return all(one.damage() for row in ended for one in with_weights(run.trial_folder(row["trial"])))
    if selection["trial"] is None or all(run.test(cell, dataset) for dataset in run.plan.tests(cell)):
        return True
    files = selection.get("files") or {}
    return bool(files) and Checkpoint(run.cell_folder(cell) / "best", {}, None, files).damage() is None


def _select(run: Run, cell: Cell, ended: list[dict[str, Any]], before: Mapping[str, Any] | None) -> dict[str, Any]:
    select_by = run.plan.resolved.study.validation.select_by
    usable = [row for row in ended if row["state"] in USABLE]
    states = dict(Counter(row["state"] for row in ended))
    selection: dict[str, Any]
    if not usable:
        reason = "no trial could be used: " + ", ".join(f"{count} {state}" for state, count in states.items())
        if faults := sorted({row["reason"] or "" for row in ended if row["state"] == State.ERROR}):
            reason += f" ({'; '.join(faults)})"
        selection = {"cell": cell.id, "trial": None, "reason": reason, "trials": states}
        return _replace(run, cell, before, selection, None)
    best, faults = _best(run, cell, usable, before, select_by)
    if best is None:
        reason = f"no checkpoint is intact: {'; '.join(faults)}"
        selection = {"cell": cell.id, "trial": None, "reason": reason, "trials": states, "lost": faults}
        return _replace(run, cell, before, selection, None)
    row, checkpoint = best
    report = checkpoint.report
    selection = {
        "cell": cell.id,
        "trial": row["trial"],
        "number": row["number"],
        "hyperparameters": row["hyperparameters"] or {},
        "paper_point": row.get("paper_point"),
        "checkpoint_report": report["report"],
        "validation_loss": report["validation_loss"],
        "em@10": report.get("em@10"),
        "training_seconds": row.get("training_seconds"),
        **{key: row.get(key) for key in MEMORY},
        "trainable_parameters": row.get("trainable_parameters"),
        "parameters": row.get("parameters"),
        "select_by": select_by,
        "considered": len(usable),
        "trials": states,
        "files": {
            name: [*seal] for name, seal in checkpoint.files.items() if any(map(PurePath(name).match, ADAPTER_FILES))
        },
    }
    if faults:
        selection["notice"] = f"the next best checkpoint is selected, since {'; '.join(faults)}"
    return _replace(run, cell, before, selection, checkpoint.path)


def _best(
    run: Run, cell: Cell, usable: list[dict[str, Any]], before: Mapping[str, Any] | None, select_by: SelectBy
) -> tuple[tuple[dict[str, Any], Checkpoint] | None, list[str]]:
    """The trial and checkpoint that ranks first whose files are intact, if any, and what is wrong with better ones."""
    found = [(row, one) for row in usable for one in with_weights(run.trial_folder(row["trial"]))]
    owner = [row for row in usable if before and before.get("files") and row["trial"] == before["trial"]]
    if before and owner:
        report = {"report": before["checkpoint_report"], "em@10_computed": True}
        report |= {key: before[key] for key in ("validation_loss", "em@10")}
        # A cell that is taken from another run has no other checkpoints.
        found.append((owner[0], Checkpoint(run.cell_folder(cell) / "best", report, None, before["files"])))
    faults: list[str] = []
    for row, one in sorted(found, key=lambda pair: (rank_key(pair[1].report, select_by), pair[0]["number"])):
        if (damage := one.damage()) is None:
            return (row, one), faults + _gone(usable, found, select_by, rank_key(one.report, select_by))
        faults.append(f"the checkpoint of report {one.report['report']} of {row['trial']} is damaged ({damage})")
    return None, faults + _gone(usable, found, select_by, None)


def _gone(
    usable: list[dict[str, Any]],
    found: list[tuple[dict[str, Any], Checkpoint]],
    select_by: SelectBy,
    chosen: tuple[float, float] | None,
) -> list[str]:
    """Best checkpoints of trials that are missing although they rank before the chosen one."""
    there = {(row["trial"], one.report["report"]) for row, one in found}
    return [
        f"the checkpoint of report {row['best_report']} of {row['trial']} is gone"
        for row in usable
        if (row["trial"], row["best_report"]) not in there
        and (chosen is None or _rank_of_trial(row, select_by) < chosen)
    ]


def _rank_of_trial(row: Mapping[str, Any], select_by: SelectBy) -> tuple[float, float]:
    report = {"validation_loss": row["best_loss"], "em@10": row["best_em@10"], "em@10_computed": True}
    return rank_key(report, select_by)


def _replace(
    run: Run, cell: Cell, before: Mapping[str, Any] | None, selection: dict[str, Any], checkpoint: Path | None
) -> dict[str, Any]:
    """Write a selection, last of all, and return what is written; what was tested of another one goes first."""
    folder = run.cell_folder(cell)
    chosen = ("trial", "checkpoint_report")
    if before and [before.get(key) for key in chosen] != [selection.get(key) for key in chosen]:
        for pattern in ("test*.json", "predictions*.jsonl"):
            for file in folder.glob(pattern):
                file.unlink()
    if checkpoint != folder / "best":
        shutil.rmtree(folder / "best", ignore_errors=True)
    if checkpoint not in (None, folder / "best"):
        (folder / "best").mkdir(parents=True)
        for name in selection["files"]:
            shutil.copy2(checkpoint / name, folder / "best")
    return write_record(run.selection_file(cell), SELECTION, selection)


def check_consent(run: Run, cell: Cell, *, given: bool) -> None:
    """Refuse to load the model of a run's cell where it brings code along that nobody here has agreed to.

    A run folder may be somebody else's: that its study lets the code run does not count.

    Raises:
        UserError: the study lets the model's code run, and consent is not given.
    """
    if run.plan.resolved.models[cell.model].trust_remote_code and not given:
        raise UserError(
            f"the run's study lets code run that the model {cell.model} brings along (trust_remote_code)",
            where=str(run.folder),
            hint="Read that code; --trust-remote-code lets it run here.",
        )
