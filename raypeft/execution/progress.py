"""What a run shows while it goes on: a live table in a terminal, plain lines elsewhere."""

import threading
import time
from collections import Counter
from collections.abc import Iterable

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raypeft.output.console import LINE_EVERY, Clock, say
from raypeft.output.text import printable
from raypeft.runs.records import FAILED, Report, State, TrialEnd
from raypeft.spec.plan import Cell, Plan


class Progress:
    """Live progress of sweep and jobs; a context manager around both.

    Args:
        plan: what is to be done.
        console: where to show it; plain lines where it is not a terminal.
    """

    def __init__(self, plan: Plan, console: Console) -> None:
        self.plan = plan
        self.console = console
        self.ended: dict[str, Counter[str]] = {cell.id: Counter() for cell in plan.cells}
        self.running: dict[str, int] = {}
        self.best: dict[str, tuple[float, float | None]] = {}
        self.clock = Clock(plan.trials)
        self.jobs = Clock(0)
        self.job_text = ""
        # The live table is drawn in a thread of its own; never held while something is printed, which waits for it.
        self._changing = threading.Lock()
        self._live = Live(console=console, refresh_per_second=2, transient=False, get_renderable=self._table)
        self._last_line = 0.0

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live.is_started:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        say(self.console, text)

    def sweep_begins(self, ended: Iterable[TrialEnd]) -> None:
        """Trials that an earlier execution of the run has ended."""
        for end in ended:
            self._count(end)
        done = sum(sum(counter.values()) for counter in self.ended.values())
        self.clock = Clock(self.plan.trials, done)
        kept = f", {done} of them done before" if done else ""
        self.say(f"Sweep: {len(self.plan.cells)} cells, {self.plan.trials} trials{kept}")

    def trial_begins(self, trial: str) -> None:
        """A trial has been given a worker."""
        with self._changing:
            self.running.setdefault(trial, 0)

    def reported(self, report: Report) -> None:
        """A report has arrived."""
        with self._changing:
            self.running[report.trial] = report.report
            self._compare(report.cell, report.validation_loss, report.em10)
            self.clock.partial = sum(number / self.plan.reports for number in self.running.values())
        self._line()

    def trial_ended(self, end: TrialEnd) -> None:
        """A trial has ended."""
        with self._changing:
            self.running.pop(end.trial, None)
        self._count(end)
        self.clock.step()
        if not self.console.is_terminal:
            loss = "no loss" if end.best_loss is None else f"best loss {end.best_loss:.4f}"
            em = "" if end.best_em10 is None else f", EM@10 {end.best_em10:.1f}"
            why = f" ({end.reason})" if end.state == State.ERROR else ""
            self.say(f"{end.trial}: {end.state}{why} after {max(0, (end.reports or 0) - 1)} reports, {loss}{em}")
        self._line()

    def jobs_begin(self, total: int, done: int) -> None:
        """Test and ICL jobs, some of them done by an earlier execution."""
        self.jobs = Clock(total, done)
        kept = f", {done} of them done before" if done else ""
        self.say(f"Evaluation: {total} jobs{kept}")

    def job_ended(self, job: str, summary: str) -> None:
        """A job has ended."""
        self.jobs.step()
        self.job_text = f"{job}: {summary}"
        if not self.console.is_terminal:
            self.say(f"[{self.jobs.done}/{self.jobs.total}] {self.job_text}")

    def _count(self, end: TrialEnd) -> None:
        with self._changing:
            self.ended[end.cell][end.state] += 1
            self._compare(end.cell, end.best_loss, end.best_em10)

    def _compare(self, cell: str, loss: float | None, em10: float | None) -> None:
        """Keep the lowest loss of a cell, with the EM@10 beside it."""
        best = self.best.get(cell)
        if loss is not None and (best is None or loss < best[0]):
            self.best[cell] = (loss, em10)

    def _line(self) -> None:
        if self.console.is_terminal or time.monotonic() - self._last_line < LINE_EVERY:
            return
        self._last_line = time.monotonic()
        self.say(f"{self.clock} trials, {len(self.running)} running")

    def _table(self) -> Table:
        with self._changing:
            return self._drawn()

    def _drawn(self) -> Table:
        table = Table(title=Text(printable(self.plan.resolved.study.question)), title_style="bold", expand=False)
        for name, justify in (("cell", "left"), ("running", "right"), ("done", "right"), ("stopped", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        for name in ("failed", "best loss", "EM@10"):
            table.add_column(name, justify="right")
        running = Counter(trial.rsplit("·", 1)[0] for trial in self.running)
        for cell in self.plan.cells:
            counter, best = self.ended[cell.id], self.best.get(cell.id)
            failed = sum(counter[state] for state in FAILED)
            table.add_row(
                Text(printable(cell.id)),
                str(running[_stem(cell)] or "·"),
                f"{sum(counter.values())}/{self.plan.resolved.study.trials}",
                str(counter[State.STOPPED]),
                str(failed),
                "" if best is None else f"{best[0]:.4f}",
                "" if best is None or best[1] is None else f"{best[1]:.1f}",
            )
        caption = f"{self.clock} trials"
        if self.jobs.total:
            caption += f"\n{self.jobs} jobs  {self.job_text}"
        table.caption = Text(printable(caption))
        return table


def _stem(cell: Cell) -> str:
    return cell.trial_name(0).rsplit("·", 1)[0]
