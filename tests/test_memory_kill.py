"""Workers that Ray's memory monitor kills, because nearly all of the machine's memory is in use."""

import os
import subprocess
from pathlib import Path

import pytest

from raypeft.files import read_json
from raypeft.run import Run
from tests.driving import ALONE, COMMAND, SETTINGS, lines


@pytest.mark.slow(minutes=1)
def test_a_trial_and_a_job_end_as_out_of_memory_and_the_study_goes_on(tmp_path: Path) -> None:
    """Ray is made to take one percent of the memory for all of it, so that no worker lives long."""
    settings = ["search.trials=1", "training.batch=1", "test.decode_batch=1", "icl.examples=[0]", "icl.seeds=[42]"]
    done = subprocess.run(
        [*COMMAND, "quickstart", "--model", "tiny-decoder", "--technique", "ia3", "--out", "run", *SETTINGS, *ALONE]
        + [argument for setting in settings for argument in ("--set", setting)],
        cwd=tmp_path,
        env=os.environ | {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 3, done.stdout
    assert "Traceback" not in done.stdout
    run = Run(tmp_path / "run")
    (row,) = lines(run.trials_file)
    assert (row["state"], row["reason"]) == ("oom", "out of memory")
    assert len(row["notices"]) == 3
    assert "of memory were in use): goes on from its last checkpoint" in row["notices"][0]
    (failed,) = [file for file in run.folder.rglob("*.error.json")] or [None]
    assert failed is not None and read_json(failed)["end"] == "oom"
