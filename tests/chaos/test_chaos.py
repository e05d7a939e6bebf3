"""A study that is killed again and again ends like one that nobody disturbed."""

import signal
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.disturbed import Disturbed, attempts, outcome
from raypeft.cli import app

pytestmark = pytest.mark.slow(minutes=8)

SETTINGS = ("search.trials=2",)
SPARING = (*SETTINGS, "resources.keep_checkpoints=best")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    run = Disturbed(tmp_path_factory.mktemp("calm"), ["lora"], SETTINGS)
    run.finish()
    return run


def test_a_run_that_is_stopped_moved_and_killed_again_and_again_ends_the_same(
    undisturbed: Disturbed, tmp_path: Path
) -> None:
    """A second owner is refused meanwhile, and what only reads works beside. It keeps the best checkpoint alone."""
    first = Disturbed(tmp_path / "here", ["lora"], SPARING)
    process = first.start()
    first.wait(process, 3, 0.0)
    second = subprocess.run(first.command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert second.returncode == 2 and f"is in use by process {process.pid} on" in second.stderr
    for verb in ("status", "report"):
        beside = CliRunner().invoke(app, [verb, str(first.run.folder)])
        assert beside.exit_code == 0, beside.output
    first.end_driver(process, signal.SIGTERM)
    assert "The same command goes on from here." in first.output()
    (tmp_path / "there").mkdir()
    first.run.folder.rename(tmp_path / "there" / "run")
    moved = Disturbed(tmp_path / "there", ["lora"], SPARING)
    moved.disturb(seed=7, driver=2, worker=2)
    assert not first.run.folder.exists()
    assert outcome(moved.run) == outcome(undisturbed.run)
    check(moved, 2, 2)
    assert len(list(moved.run.folder.glob("trials/*/checkpoint-*"))) == 1


def test_a_full_disk_pauses_a_run_that_goes_on_when_there_is_room(undisturbed: Disturbed, tmp_path: Path) -> None:
    crowded = Disturbed(tmp_path, ["lora"], SETTINGS)
    crowded.run.folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=44m", "tmpfs", str(crowded.run.folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        assert crowded.start().wait(timeout=300) == 2, crowded.output()
        assert "the disk is full: " in crowded.output() and "Traceback" not in crowded.output()
        assert {row.state for row in crowded.run.trials()} <= {"finished", "stopped"}
        assert list(crowded.run.reports())
        subprocess.run(["mount", "-o", "remount,size=400m", str(crowded.run.folder)], check=True)
        crowded.finish()
        assert outcome(crowded.run) == outcome(undisturbed.run)
    finally:
        subprocess.run(["umount", "-l", str(crowded.run.folder)], check=True)


def check(disturbed: Disturbed, driver: int, worker: int) -> None:
    """Nothing lost, nothing done twice, nothing left behind."""
    kills = disturbed.figures.kills
    assert kills["worker SIGKILL"] == worker and kills.total() == driver + worker
    names = [row.trial for row in disturbed.run.trials()]
    assert len(names) == len(set(names)) == disturbed.run.plan.trials
    for name in names:
        known = [numbers for numbers in attempts(disturbed.run, name) if numbers]
        for before, after in pairwise(known):
            assert after[0] >= before[-1]  # goes on from its last report: less than an interval is done again
    assert {path.name for path in disturbed.home.iterdir()} <= {".cache", ".config"}
