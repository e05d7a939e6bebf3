"""How far a run has come, and how long its sweep may still take."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

from raypeft.report.numbers.gather import Numbers
from raypeft.report.numbers.trials import Trial
from raypeft.runs.records import State

# A silence many times longer than usual between two records is a pause of the whole run, not work.
_PAUSE = 20


@dataclass(frozen=True)
class Standing:
    """Progress of a run.

    Attributes:
        cells: number of cells by state.
        trials: number of begun trials by state.
        icl_done, icl_failed: in-context learning runs.
        seconds_left: estimate for the sweep; none where there is nothing to go by.
        estimate: what the estimate rests on, or why there is none.
    """

    cells: Mapping[str, int]
    trials: Mapping[str, int]
    icl_done: int
    icl_failed: int
    seconds_left: float | None
    estimate: str

    @property
    def trials_ended(self) -> int:
        """Trials that have ended, in whatever way."""
        return sum(self.trials.values()) - self.trials.get(State.RUNNING, 0)


def standing(numbers: Numbers) -> Standing:
    """Count what is done and estimate the rest of the sweep."""
    seconds_left, estimate = _estimate(numbers)
    return Standing(
        cells=Counter(numbers.states.values()),
        trials=Counter(trial.state for trial in numbers.trials),
        icl_done=sum(row.done for row in numbers.icl),
        icl_failed=sum(len(row.errors) for row in numbers.icl),
        seconds_left=seconds_left,
        estimate=estimate,
    )


def _estimate(numbers: Numbers) -> tuple[float | None, str]:
    """Work left at the pace so far: trials of a cell cost what its ended ones did, else those of its model."""
    ended = [trial for trial in numbers.trials if trial.state != State.RUNNING]
    if len(ended) == numbers.run.plan.trials:
        return None, "the sweep is done"
    work = 0.0
    for row in numbers.searched:
        trials = numbers.trials_of(row.cell)
        like = [trial for trial in trials if trial.state != State.RUNNING]
        like = like or [trial for trial in ended if trial.cell.model == row.cell.model]
        open_trials = [_seconds(trial) for trial in trials if trial.state == State.RUNNING]
        waiting = numbers.run.plan.resolved.study.trials - len(trials)
        if not open_trials and not waiting:
            continue
        if not like:
            return None, f"no estimate yet: no trial of {row.cell.model} has ended"
        cost = fmean(_seconds(trial) for trial in like)
        work += waiting * cost + sum(max(0.0, cost - spent) for spent in open_trials)
    times = sorted(report.time for report in numbers.run.reports() if report.time is not None)
    busy, pace = sum(map(_seconds, numbers.trials)), _active(times)
    if not busy or not pace:
        return None, "no estimate yet: too few reports"
    return work * pace / busy, f"going by {len(ended)} ended trials; tests and in-context learning come after it"


def _seconds(trial: Trial) -> float:
    return (trial.training_seconds or 0.0) + (trial.evaluation_seconds or 0.0)


def _active(times: Sequence[float]) -> float:
    """Seconds between records, pauses of the run left out."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    usual = median(gaps) if len(times) > 1 else 0.0
    return sum(gap for gap in gaps if gap <= _PAUSE * usual)
