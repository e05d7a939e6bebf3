"""Workers that Ray's memory monitor kills, because nearly all of the machine's memory is in use."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from raypeft.execution.memory_kills import is_memory_kill, take_memory_kills_for_deaths
from raypeft.output.files import read_json
from raypeft.runs.folder import Run
from raypeft.sweep.faults import death_of, in_a_line
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
    assert row["state"] == "oom"
    assert row["reason"].startswith("out of memory: its worker died 4 times without getting further (Ray killed it: ")
    assert len(row["notices"]) == 4  # once more with gradient checkpointing
    assert "of memory were in use): goes on from its last checkpoint" in row["notices"][0]
    (failed,) = [file for file in run.folder.rglob("*.error.json")] or [None]
    assert failed is not None and read_json(failed)["end"] == "oom"


def test_tune_goes_on_with_a_trial_whose_worker_is_killed_while_it_trains(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's answer for the first report is what it gives of a killed actor; without the change Tune ends the search."""
    import ray
    from ray import tune

    take_memory_kills_for_deaths()
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    deaths: list[BaseException | None] = []
    reports: list[int] = []
    killed, get = [False], ray.get

    class Watch(tune.Callback):
        def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            deaths.append(death_of(trial))

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            reports.append(result["report"])

    def answer(asked: Any, **further: Any) -> Any:
        found = get(asked, **further)
        if not killed[0] and isinstance(found, dict) and "report" in found:
            killed[0] = True
            raise ray.exceptions.OutOfMemoryError("Memory on the node was 23.1GB used / 23.5GB limit (0.98)")
        return found

    def train(config: dict[str, Any]) -> None:
        tune.report({"report": 0})

    monkeypatch.setattr(ray, "get", answer)
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(tmp_path),
            callbacks=[Watch()],
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )
    assert [result.error for result in tuner.fit()] == [None]
    assert killed[0] and reports == [0]
    (death,) = deaths
    assert is_memory_kill(death)
    assert in_a_line(death) == "Ray killed it: 23.1GB of its machine's 23.5GB of memory were in use"
