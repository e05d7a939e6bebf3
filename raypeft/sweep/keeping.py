"""Which checkpoints of ended trials stay where a study keeps only the best (`resources.keep_checkpoints`)."""

import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from raypeft.runs.checkpoints import rank_key, with_weights
from raypeft.runs.folder import Run
from raypeft.runs.records import USABLE


def keep_best(run: Run, ended: Iterable[Mapping[str, Any]]) -> None:
    """Remove every checkpoint of a cell's ended trials but the one that would be selected of them.

    Args:
        run: the run.
        ended: rows of `trials.jsonl` of one cell. Trials that have not ended keep what they have.
    """
    rows, select_by = list(ended), run.plan.resolved.study.validation.select_by
    usable = [
        (rank_key(one.report, select_by), row["number"], one.order, one.path)
        for row in rows
        if row["state"] in USABLE
        for one in with_weights(run.trial_folder(row["trial"]))
    ]
    best = min(usable, default=None)
    for row in rows:
        for checkpoint in run.trial_folder(row["trial"]).glob("checkpoint-*"):
            if best is None or checkpoint != best[-1]:
                shutil.rmtree(checkpoint, ignore_errors=True)
