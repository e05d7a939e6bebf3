"""Selection: per cell the trial and checkpoint with the best validation result. Test data plays no part."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from raypeft.errors import UserError
from raypeft.runs.checkpoints import Checkpoint, rank, rank_key, with_weights
from raypeft.runs.folder import Run
from raypeft.runs.ledger import costs_of
from raypeft.runs.reading import write_record
from raypeft.runs.records import USABLE, Message, SelectBy, Selection, State, TrialEnd
from raypeft.spec.plan import Cell

ADAPTER_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "adapter_config.json",
    "config.json",
    "generation_config.json",
)


def select(run: Run, say: Callable[[str], None] = lambda text: None) -> dict[Cell, Selection]:
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
        ended = [end for end in trials if end.cell == cell.id]
        if len(ended) < run.plan.resolved.study.trials:
            continue
        before = run.selection(cell)
        if before and stands(run, cell, before):
            selections[cell] = before
            continue
        selections[cell] = _select(run, cell, ended, before)
        if notice := selections[cell].notice:
            run.note(notice, cell=cell)
            say(f"{cell.id}: {notice}")
    return selections


def selected(run: Run, cell: Cell) -> Selection:
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
    if selection.trial is None:
        raise UserError(f"{cell.id} has no selected trial: {selection.why}")
    return selection


def stands(run: Run, cell: Cell, selection: Selection) -> bool:
    """Whether a selection was made from all trials of the study, and its weights are there if a test may need them."""
    if sum((selection.trials or {}).values()) < run.plan.resolved.study.trials:
        return False
    if selection.lost:
        usable = [end for end in run.trials() if end.cell == cell.id and end.state in USABLE]
        return all(one.damage() for end in usable for one in with_weights(run.trial_folder(end.trial)))
    if selection.trial is None or all(run.test(cell, dataset) for dataset in run.plan.tests(cell)):
        return True
    files = selection.files or {}
    return bool(files) and Checkpoint(run.cell_folder(cell) / "best", None, None, files).damage() is None


def _select(run: Run, cell: Cell, ended: list[TrialEnd], before: Selection | None) -> Selection:
    select_by = run.plan.resolved.study.validation.select_by
    usable = [end for end in ended if end.state in USABLE]
    states = Counter(end.state for end in ended)
    if not usable:
        reason = "no trial could be used: " + ", ".join(f"{count} {state}" for state, count in states.items())
        if faults := sorted({end.reason or "" for end in ended if end.state == State.ERROR}):
            reason += f" ({'; '.join(faults)})"
        return _replace(run, cell, before, Selection(cell=cell.id, trial=None, reason=reason, trials=states), None)
    best, faults = _best(run, cell, usable, before, select_by)
    if best is None:
        reason = f"no checkpoint is intact: {'; '.join(faults)}"
        nothing = Selection(cell=cell.id, trial=None, reason=reason, trials=states, lost=faults)
        return _replace(run, cell, before, nothing, None)
    end, checkpoint = best
    report = checkpoint.report
    more: dict[str, Any] = {}
    if faults:
        more["notice"] = f"the next best checkpoint is selected, since {'; '.join(faults)}"
    selection = Selection(
        cell=cell.id,
        trial=end.trial,
        number=end.number,
        hyperparameters=end.hyperparameters or {},
        paper_point=end.paper_point,
        checkpoint_report=report.report if report else None,
        validation_loss=report.validation_loss if report else None,
        em10=report.em10 if report else None,
        **{name: value for name, value in costs_of(end).items() if name != "evaluation_seconds"},
        select_by=select_by,
        considered=len(usable),
        trials=states,
        files={name: seal for name, seal in checkpoint.files.items() if any(map(PurePath(name).match, ADAPTER_FILES))},
        **more,
    )
    return _replace(run, cell, before, selection, checkpoint.path)


def _best(
    run: Run, cell: Cell, usable: list[TrialEnd], before: Selection | None, select_by: SelectBy
) -> tuple[tuple[TrialEnd, Checkpoint] | None, list[str]]:
    """The trial and checkpoint that ranks first whose files are intact, if any, and what is wrong with better ones."""
    found = [(end, one) for end in usable for one in with_weights(run.trial_folder(end.trial))]
    if before and before.files and (owner := next((end for end in usable if end.trial == before.trial), None)):
        # A cell that is taken from another run has no other checkpoints.
        report = Message(
            report=before.checkpoint_report or 0,
            validation_loss=before.validation_loss,
            em10=before.em10,
            em10_computed=True,
        )
        found.append((owner, Checkpoint(run.cell_folder(cell) / "best", report, None, before.files)))
    faults: list[str] = []
    for end, one in sorted(found, key=lambda pair: (rank_key(pair[1].report, select_by), pair[0].number)):
        if (damage := one.damage()) is None:
            return (end, one), faults + _gone(usable, found, select_by, rank_key(one.report, select_by))
        faults.append(f"the checkpoint of report {one.order[0]} of {end.trial} is damaged ({damage})")
    return None, faults + _gone(usable, found, select_by, None)


def _gone(
    usable: list[TrialEnd],
    found: list[tuple[TrialEnd, Checkpoint]],
    select_by: SelectBy,
    chosen: tuple[float, float] | None,
) -> list[str]:
    """Best checkpoints of trials that are missing although they rank before the chosen one."""
    there = {(end.trial, one.order[0]) for end, one in found}
    return [
        f"the checkpoint of report {end.best_report} of {end.trial} is gone"
        for end in usable
        if (end.trial, end.best_report) not in there
        and (chosen is None or rank(end.best_loss, end.best_em10, select_by) < chosen)
    ]


def _replace(
    run: Run, cell: Cell, before: Selection | None, selection: Selection, checkpoint: Path | None
) -> Selection:
    """Write a selection, last of all, and return what is written; what was tested of another one goes first."""
    folder = run.cell_folder(cell)
    chosen = (selection.trial, selection.checkpoint_report)
    if before and (before.trial, before.checkpoint_report) != chosen:
        for pattern in ("test*.json", "predictions*.jsonl"):
            for file in folder.glob(pattern):
                file.unlink()
    if checkpoint != folder / "best":
        shutil.rmtree(folder / "best", ignore_errors=True)
    if checkpoint not in (None, folder / "best"):
        (folder / "best").mkdir(parents=True)
        for name in selection.files or {}:
            shutil.copy2(checkpoint / name, folder / "best")
    return write_record(run.selection_file(cell), selection)


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
