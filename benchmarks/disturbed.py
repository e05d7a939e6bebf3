"""Drives a study to its end through a seeded schedule of kills, and compares it with an undisturbed run."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from raypeft.runs.checkpoints import last
from raypeft.runs.folder import Run

COMMAND = [sys.executable, "-m", "raypeft", "study", "quickstart", "--model", "tiny-decoder"]
SETTINGS = (
    "data.train=80",
    "training.epochs=3",
    "training.evaluate_every=0.3",
    "early_stopping.grace=4",
    "data.validation=8",
    "data.test=8",
    "validation.em_items=2",
    "early_stopping.factor=2",
    "icl={examples: [1], seeds: [42]}",
    "resources.concurrent=1",
)
DRIVER = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
# What depends on the clock or on memory; peft writes a set of modules in any order.
VARYING = re.compile(r"seconds|memory|time$|items_per_second|notices|peak|mib|adapter_config")
STOPPED_IN_SECONDS = 30
WORKER_BYTES = 400 * 2**20  # with torch; Ray's own processes take less


@dataclass
class Figures:
    """What the kills of a run have cost.

    Attributes:
        kills: delivered, by signal and whom it hit.
        starts: of the driver.
        slowest_stop: seconds from a SIGINT or SIGTERM to the end of the process.
        codes: exit codes of the driver, by signal.
    """

    kills: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    slowest_stop: float = 0.0
    codes: dict[str, Counter[int]] = field(default_factory=dict)


class Disturbed:
    """One run of the study in a folder, with a home and a place for temporary files of its own.

    Args:
        folder: where all that lies.
        techniques: cells of the study.
        settings: further settings of the study.
    """

    def __init__(self, folder: Path, techniques: Sequence[str], settings: Sequence[str]) -> None:
        self.folder = folder
        self.run = Run(folder / "run")
        self.home = folder / "home"
        # short, since the names of sockets in it are limited
        self.temporary = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
        self.figures = Figures()
        self._orphans: list[psutil.Process] = []
        self._inherited: set[Path] = set()
        self.command = [*COMMAND, "--out", str(self.run.folder), "--no-reuse"]
        self.command += [argument for name in techniques for argument in ("--technique", name)]
        self.command += [argument for value in (*SETTINGS, *settings) for argument in ("--set", value)]
        self.home.mkdir(parents=True, exist_ok=True)

    def start(self) -> subprocess.Popen[str]:
        """Start the driver, its output in `output.txt`."""
        self.figures.starts += 1
        self._inherited = self.left_behind()
        hidden = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")
        environment = {key: value for key, value in os.environ.items() if key not in hidden}
        environment |= {"HOME": str(self.home), "RAY_TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"}
        with (self.folder / "output.txt").open("a", encoding="utf-8") as output:
            return subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=environment,
                stdout=output,
                stderr=output,
                text=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in the background
            )

    def finish(self, process: subprocess.Popen[str] | None = None) -> None:
        """Let the study come to its end."""
        process = process or self.start()
        assert process.wait(timeout=900) == 0, self.output()
        assert not alive(self._orphans)
        assert not self.left_behind()

    def left_behind(self) -> set[Path]:
        """Temporary folders of drivers."""
        return set(self.temporary.glob("raypeft-*"))

    def output(self) -> str:
        """The end of what the driver has printed."""
        return (self.folder / "output.txt").read_text(encoding="utf-8")[-4000:]

    def disturb(self, seed: int, driver: int, worker: int) -> None:
        """Kill driver and workers at moments drawn from a seed, start again each time, and let the run end.

        Most kills wait for the next report and a part of a second more; some of the driver's hit its start.
        """
        draw = random.Random(seed)
        schedule: list[tuple[str, signal.Signals]] = [("worker", signal.SIGKILL)] * worker
        schedule += [("driver", DRIVER[number % len(DRIVER)]) for number in range(driver)]
        draw.shuffle(schedule)
        process = self.start()
        for whom, number in schedule:
            at_start = whom == "driver" and draw.random() < 0.2
            delay = draw.uniform(0.0, 9.0) if at_start else draw.uniform(0.0, 0.8)
            self.wait(process, None if at_start else self._records() + 1, delay)
            while whom == "worker" and not self._kill_worker(process):
                time.sleep(0.1)
            if whom == "driver":
                reported = self._reported()
                self.end_driver(process, number)
                self._check_checkpoints(reported)
                process = self.start()
            self.figures.kills[f"{whom} {number.name}"] += 1
        self.finish(process)

    def wait(self, process: subprocess.Popen[str], records: int | None, delay: float) -> None:
        """Wait for a number of records and then a delay, while the driver runs."""
        deadline = time.monotonic() + 300
        while records is not None and self._records() < records:
            assert process.poll() is None, f"the study ended before all kills: {self.output()}"
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)
        time.sleep(delay)

    def _records(self) -> int:
        """Reports, and results of jobs."""
        file = self.run.reports_file
        lines = file.read_bytes().count(b"\n") if file.exists() else 0
        return lines + sum(1 for _ in self.run.folder.glob("[ci]*/**/*.json"))

    def _reported(self) -> dict[str, int]:
        """The last report of each trial that has not ended."""
        ended = self._ended()
        return {row.trial: row.report for row in self.run.reports() if row.trial not in ended}

    def _ended(self) -> set[str]:
        return {row.trial for row in self.run.trials()}

    def _check_checkpoints(self, reported: dict[str, int]) -> None:
        """What was reported before a kill is in a checkpoint, so that at most the interval after it is lost.

        A trial may have ended since and lost its checkpoint; that its end is written first is part of the check.
        """
        for trial, report in reported.items():
            newest = last(self.run.trial_folder(trial))
            there = newest is not None and newest.order[0] >= report
            assert there or trial in self._ended(), (trial, report, newest)

    def end_driver(self, process: subprocess.Popen[str], number: signal.Signals) -> None:
        """Send the driver a signal, and see that it ends in time with all that it has started."""
        assert process.poll() is None, f"the study ended with {process.returncode} by itself: {self.output()}"
        children = psutil.Process(process.pid).children(recursive=True)
        started = time.monotonic()
        process.send_signal(number)
        code = process.wait(timeout=STOPPED_IN_SECONDS)
        if number != signal.SIGKILL:
            self.figures.slowest_stop = max(self.figures.slowest_stop, time.monotonic() - started)
            # one told to stop before it has taken the run over leaves what the killed one before it left
            assert self.left_behind() <= self._inherited, f"{number.name}, ended with {code}: {self.output()}"
        self.figures.codes.setdefault(number.name, Counter())[code] += 1
        if number == signal.SIGKILL:
            self._orphans += children  # whoever takes over ends them
        else:
            assert not alive(children), self.output()

    def _kill_worker(self, driver: subprocess.Popen[str]) -> bool:
        """Kill the process that trains or tests, known by the libraries it has loaded; whether there was one."""
        assert driver.poll() is None, f"the study ended before all kills: {self.output()}"
        for process in psutil.Process(driver.pid).children(recursive=True):
            try:
                if process.name().startswith("ray::") and process.memory_info().rss > WORKER_BYTES:
                    reported = self._reported()
                    process.kill()
                    self._check_checkpoints(reported)
                    return True
            except psutil.Error:
                continue
        return False


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of some processes that have not ended in time."""
    _, left = psutil.wait_procs(processes, timeout=STOPPED_IN_SECONDS)
    return [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def attempts(run: Run, trial: str) -> list[list[int]]:
    """Reports that each attempt at a trial gave, from its log: an attempt gives the last one before it again."""
    found: list[list[int]] = []
    for line in run.trial_log(trial).read_text(encoding="utf-8").splitlines():
        if f"{trial} begins" in line:
            found.append([])
        elif (match := re.search(r"raypeft\.trial: report (\d+),", line)) and ", end paused" not in line:
            found[-1].append(int(match.group(1)))
    return found


def outcome(run: Run) -> dict[str, Any]:
    """All that a run has found, without what depends on the clock."""
    return {
        "trials": {row.trial: steady(row.content()) for row in run.trials()},
        "reports": {(row.trial, row.report): steady(row.content()) for row in run.reports()},
        "order": [(row.trial, row.report) for row in run.reports()],
        "selections": {cell.id: steady(one.content()) for cell in run.plan.cells if (one := run.selection(cell))},
        "results": {str(path.relative_to(run.folder)): steady(content) for path, content in _results(run)},
        "tables": {path.name: _table(path) for path in sorted((run.report_folder / "tables").glob("*.csv"))},
    }


def steady(content: Any) -> Any:
    """JSON without the keys that vary."""
    if isinstance(content, dict):
        return {key: steady(value) for key, value in content.items() if not VARYING.search(key)}
    return [steady(value) for value in content] if isinstance(content, list) else content


def _results(run: Run) -> Iterator[tuple[Path, Any]]:
    for path in sorted(run.folder.glob("[ci]*/**/*.json*")):
        if "best" not in path.parts and path.name != "selection.json":
            rows = (
                [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
                if path.suffix == ".jsonl"
                else json.loads(path.read_text(encoding="utf-8"))
            )
            yield path, rows


def _table(path: Path) -> list[dict[str, str]]:
    import csv

    with path.open(encoding="utf-8", newline="") as stream:
        return [steady(row) for row in csv.DictReader(stream)]
