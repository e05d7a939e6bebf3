"""Readable names in Ray's actor list."""

from typing import Any

import ray

from raypeft.runs.records import Report


class TrialLabel:
    """An actor named after a running trial; its log, which the Ray dashboard shows, holds the trial's reports.

    A process a trial is its price, since the dashboard lists actors by the name and repr that they are created with,
    and a worker goes from trial to trial, of any model. Tune names neither its workers nor the calls that it makes to
    them, and of what changes later the dashboard shows only the text of a log, which has to be opened first.
    """

    def __init__(self, trial: str) -> None:
        self.trial = trial

    def __repr__(self) -> str:
        return self.trial

    def reported(self, report: Report) -> None:
        """Print a report into this actor's log."""
        print(f"report {report.report}: validation loss {report.validation_loss}, EM@10 {report.em10}", flush=True)


class Labels:
    """The labels of the trials that are running now."""

    def __init__(self) -> None:
        self._actors: dict[str, Any] = {}

    def show(self, trial: str) -> None:
        """Put up a trial's label, once."""
        if trial not in self._actors:
            label = ray.remote(num_cpus=0)(TrialLabel).options(name=trial, get_if_exists=True)
            self._actors[trial] = label.remote(trial)

    def reported(self, report: Report) -> None:
        """Pass a report on to the trial's label."""
        if report.trial in self._actors:
            self._actors[report.trial].reported.remote(report)

    def remove(self, trial: str) -> None:
        """Take a trial's label down."""
        if (actor := self._actors.pop(trial, None)) is not None:
            ray.kill(actor)
