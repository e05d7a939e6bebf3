"""Faults of a trial that are not of its own making, and what its worker makes of them."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch
from ray import cloudpickle
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError
from rich.console import Console

from raypeft.errors import UserError
from raypeft.execution.memory_kills import is_memory_kill
from raypeft.execution.progress import Progress
from raypeft.hub import HubError
from raypeft.output.files import write_text
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell
from raypeft.spec.resolve import resolve
from raypeft.sweep import worker
from raypeft.sweep.faults import death_of, in_a_line, is_hub_silent, is_poisoned
from raypeft.sweep.sweep import _check_study
from tests.said import Said


def caused(outer: Exception, inner: Exception) -> Exception:
    try:
        raise outer from inner
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("cause", "silent"), [("unreachable", True), ("slow", True), ("cut", True), ("gated", False), ("missing", False)]
)
def test_a_hub_that_does_not_answer_is_told_from_one_that_refuses(cause: Any, silent: bool) -> None:
    error = HubError("said no", cause=cause)
    assert is_hub_silent(error) == is_hub_silent(caused(RuntimeError("cannot load"), error)) == silent


def test_a_gpu_that_has_failed_is_told_from_one_that_is_full() -> None:
    assert is_poisoned(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert is_poisoned(caused(ValueError("step failed"), torch.AcceleratorError("device-side assert")))
    assert not is_poisoned(torch.OutOfMemoryError("CUDA out of memory. CUDA error: out of memory"))
    assert not is_poisoned(RuntimeError("shape mismatch"))
    assert not is_poisoned(ValueError("CUDA error: what the user's text says"))
    assert not is_poisoned(RuntimeError("the column holds 'CUDA error: none'"))
    assert not is_poisoned(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))


def test_why_a_worker_died_is_said_in_a_line(tmp_path: Path) -> None:
    """As Ray raises it and Tune keeps it; what cannot be read is no further fault."""
    file = tmp_path / "error.pkl"
    trial = SimpleNamespace(pickled_error_file=str(file))
    assert death_of(trial) is None and death_of(SimpleNamespace(pickled_error_file=None)) is None
    for error, line in (
        (ActorDiedError(), "The actor died unexpectedly before finishing this task"),
        (RayTaskError("train", "Traceback…", RuntimeError("CUDA error: unknown\nMore")), "CUDA error: unknown"),
        (OutOfMemoryError("1 worker(s) were killed due to the node running low on memory.\n"),
         "1 worker(s) were killed due to the node running low on memory"),
    ):  # fmt: skip
        file.write_bytes(cloudpickle.dumps(error))
        assert in_a_line(death_of(trial)) == line
        assert is_memory_kill(death_of(trial)) == isinstance(error, OutOfMemoryError)
    file.write_bytes(b"cut")
    assert death_of(trial) is None and in_a_line(None) == "no more is known" and not is_memory_kill(None)


def test_a_study_that_finds_no_memory_for_its_check_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `RAY_task_oom_retries` 0, as `raypeft.execution.environment` sets it, Ray raises this at once."""
    killed = (
        "1 worker(s) were killed due to the node running low on memory. Memory was 23.1GB used / 23.5GB limit (0.98)"
    )
    monkeypatch.setattr(ray, "remote", lambda function: SimpleNamespace(remote=lambda folder: function))
    monkeypatch.setattr(ray, "get", lambda asked: (_ for _ in ()).throw(OutOfMemoryError(killed)))
    run = Run(tmp_path)
    write_text(run.study_file, resolve("quickstart", settings=["techniques=[qlora_4bit]"]).dump())
    with Progress(run.plan, Console(quiet=True)) as progress, pytest.raises(UserError) as refused:
        _check_study(run, progress)
    assert str(refused.value).startswith(
        "no worker could be started: Ray killed it: 23.1GB of its machine's 23.5GB of memory were in use\nLet other"
    )


def test_a_worker_handles_what_memory_allowed_where_it_ran_out(tmp_path: Path) -> None:
    """Batches of 8 and 16, halved twice; trials that follow in the same worker begin with no more."""
    run, cell = Run(tmp_path), Cell("tiny-decoder", "snippets", "lora")
    write_text(run.study_file, resolve("quickstart").dump())
    batches = [worker._batches_of(run.folder, cell, kills) for kills in (0, 2, 0)]
    assert batches[0] is batches[1] is batches[2]
    assert (batches[0].micro, batches[0].decode, batches[0].accumulation) == (2, 4, 4)
    other = worker._batches_of(run.folder, Cell("tiny-decoder", "snippets", "ia3"), 0)
    assert (other.micro, other.decode) == (8, 16)


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a trial in this process whose training fails in the given ways, one after the other."""
    reports: list[dict[str, Any]] = []
    monkeypatch.setattr(worker.tune, "report", reports.append)
    monkeypatch.setattr(worker, "HUB_WAITS", (0.0, 0.0, 0.0))

    def run(*errors: Exception) -> list[dict[str, Any]]:
        left = list(errors)

        def train(*arguments: Any) -> None:
            if left:
                raise left.pop(0)
            worker.tune.report({"report": 0, "end": "finished"})

        monkeypatch.setattr(worker, "_train", train)
        config = {"run": str(tmp_path), "trial": "a·b·c·000", "hyperparameters": {}}
        worker.train_trial(config)
        return reports

    return run


def test_an_exception_ends_the_trial_with_its_traceback(trial: Any) -> None:
    (report,) = trial(ValueError("rank must be positive\nmore"))
    assert (report["end"], report["fault"], report["report"]) == ("error", "rank must be positive", -1)
    assert "ValueError: rank must be positive" in report["error"] and "transient" not in report


def test_a_silent_hub_is_asked_four_times(trial: Any) -> None:
    slow = HubError("did not answer within 10 s", cause="slow")
    assert [report["end"] for report in trial(slow, slow, slow)] == ["finished"]


def test_a_hub_that_stays_silent_ends_the_trial(trial: Any) -> None:
    slow = HubError("did not answer within 10 s", cause="slow")
    (report,) = trial(slow, slow, slow, slow)
    assert (report["end"], report["transient"]) == ("error", True) and "did not answer" in report["fault"]


def test_a_gated_model_is_asked_for_once(trial: Any) -> None:
    (report,) = trial(HubError("is gated", cause="gated"))
    assert report["end"] == "error" and "transient" not in report


def test_a_full_disk_pauses_the_trial(trial: Any) -> None:
    (report,) = trial(OSError(errno.ENOSPC, "No space left on device"))
    assert report["end"] == "paused" and "No space left" in report["fault"]


def test_a_failed_gpu_is_left_to_another_process(trial: Any) -> None:
    with pytest.raises(RuntimeError, match="CUDA error"):
        trial(RuntimeError("CUDA error: device-side assert triggered"))


def test_a_trial_does_not_begin_while_the_run_stops(tmp_path: Path) -> None:
    run, reports = Run(tmp_path), Said()
    run.stop_file.write_text("SIGTERM")
    worker._train(run, {}, reports.hear)
    assert [report["end"] for report in reports] == ["paused"]
