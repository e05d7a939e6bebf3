"""Candidates for intents of one's own, from a cell's selected weights."""

from collections.abc import Callable, Sequence

from raypeft.data.sources import Item
from raypeft.evaluation.decoding_job import decode_items, tuned_prompts
from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import study_base
from raypeft.runs.folder import Run
from raypeft.runs.records import Prediction
from raypeft.runs.selection import check_consent, selected
from raypeft.spec.plan import Cell, Plan


def generate(
    run: Run,
    cell: Cell,
    intents: Sequence[str],
    progress: Callable[[int], None] | None = None,
    *,
    trust_remote_code: bool = False,
) -> list[Prediction]:
    """Candidates by the prompt and the beam search of the study's test.

    Args:
        run: the run.
        cell: its cell.
        intents: texts.
        progress: called with the number of intents that have been searched since.
        trust_remote_code: whether code may run that the model brings along.

    Returns:
        For each intent a prediction, without reference.

    Raises:
        UserError: the cell has no selected weights, or its model cannot be loaded or needs code of its own that may not
            run.
    """
    check_consent(run, cell, given=trust_remote_code)
    return searched(run, run.plan, cell, intents, progress=progress)


def searched(
    run: Run,
    plan: Plan,
    cell: Cell,
    intents: Sequence[str],
    *,
    decode_batch: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Prediction]:
    """What the selected weights of a run's cell give for intents by a plan's prompt and beam search.

    Args:
        run: the run.
        plan: its own, or one with another search.
        cell: its cell.
        intents: texts.
        decode_batch: intents that are searched together; by default as many as the plan says.
        progress: as in `generate`.

    Returns:
        For each intent a prediction.

    Raises:
        UserError: as `generate`.
    """
    selection = selected(run, cell)
    base = study_base(plan.resolved, cell)
    items = [Item(str(number), intent, "") for number, intent in enumerate(intents)]
    prompts, _ = tuned_prompts(plan, base, cell.dataset, items)
    with adapted(
        base,
        plan.resolved.techniques[cell.technique],
        selection.point,
        seed=plan.resolved.study.training.seed,
        saved=run.cell_folder(cell) / "best",
    ) as model:
        return decode_items(plan, base, model, cell.dataset, items, prompts, decode_batch, progress)[0]
