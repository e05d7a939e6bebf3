"""Which checkpoints of ended trials stay where a study keeps only the best (`resources.keep_checkpoints`)."""

import shutil
from collections.abc import Iterable

from raypeft.runs.checkpoints import rank_key, with_weights
from raypeft.runs.folder import Run
from raypeft.runs.records import USABLE, TrialEnd


def keep_best(run: Run, ended: Iterable[TrialEnd]) -> None:
    """Remove every checkpoint of a cell's ended trials but the one that would be selected of them.

    Args:
        run: the run.
        ended: trials of one cell. Trials that have not ended keep what they have.
    """
    ends, select_by = list(ended), run.plan.resolved.study.validation.select_by
    usable = [
        (rank_key(one.report, select_by), end.number, one.order, one.path)
        for end in ends
        if end.state in USABLE
        for one in with_weights(run.trial_folder(end.trial))
    ]
    best = min(usable, default=None)
    for end in ends:
        for checkpoint in run.trial_folder(end.trial).glob("checkpoint-*"):
            if best is None or checkpoint != best[-1]:
                shutil.rmtree(checkpoint, ignore_errors=True)
