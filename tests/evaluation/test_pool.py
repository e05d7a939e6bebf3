"""What becomes of a job whose worker fails, on real Ray actors."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from rich.console import Console

from raypeft.evaluation import pool
from raypeft.evaluation.jobs import Job
from raypeft.execution.memory_kills import take_memory_kills_for_deaths
from raypeft.execution.progress import Progress
from raypeft.output.files import read_json, write_json, write_text
from raypeft.runs.folder import Run
from raypeft.spec.plan import IclJob, Plan
from raypeft.spec.resolve import resolve
from tests.conftest import SMALL

FAILED: list[str] = []


def job(seed: int) -> Job:
    return Job("icl", IclJob("tiny-decoder", "snippets", 1, seed))


BAD, GOOD = job(42), job(777)


def run_job_on_a_gpu(run: Run, job: Job, decode_batch: int | None) -> SimpleNamespace:
    """As on a GPU: a kernel of one job fails, and after it every call in the same process."""
    with (run.folder / "attempts").open("a") as file:
        file.write(f"{job.id}\t{os.getpid()}\n")
    if job == BAD or FAILED:
        FAILED.append(job.id)
        raise RuntimeError("CUDA error: device-side assert triggered")
    write_json(job.result_file(run), {"metrics": {"em@1": 50.0}})
    return SimpleNamespace(metrics={"em@1": 50.0})


class Bare(pool.Evaluator):
    """Without the libraries, which no job here needs."""

    def __init__(self, folder: str, threads: int) -> None:
        self.run = Run(Path(folder))


class OnGpu(Bare):
    def evaluate(self, job: Job, decode_batch: int | None = None) -> str:
        sys.modules["raypeft.evaluation.decoding_job"] = SimpleNamespace(run_job=run_job_on_a_gpu)  # type: ignore[assignment]
        return super().evaluate(job, decode_batch)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path)
    one_at_a_time = resolve("quickstart", settings=[*SMALL, "resources.concurrent=1"])
    write_text(run.study_file, one_at_a_time.dump())
    return run


def test_a_failed_gpu_ends_its_process_and_not_the_jobs_after_it(
    run: Run, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(pool, "Evaluator", OnGpu)
    with Progress(Plan(run.plan.resolved), Console(quiet=True)) as progress:
        assert pool.evaluate(run, [BAD, GOOD], progress) == [BAD]
    attempts = [line.split("\t") for line in (run.folder / "attempts").read_text().splitlines()]
    assert [name for name, _ in attempts] == [BAD.id] * 3 + [GOOD.id]
    assert len({process for _, process in attempts}) == 4
    failure = read_json(BAD.error_file(run))
    assert failure is not None and failure["end"] == "error" and "device-side assert" in failure["error"]
    assert not GOOD.error_file(run).exists()


def run_job_noting(run: Run, job: Job, decode_batch: int | None) -> SimpleNamespace:
    with (run.folder / "attempts").open("a") as file:
        file.write(f"{decode_batch}\n")
    write_json(job.result_file(run), {"metrics": {"em@1": 50.0}})
    return SimpleNamespace(metrics={"em@1": 50.0})


class Noting(Bare):
    def evaluate(self, job: Job, decode_batch: int | None = None) -> str:
        sys.modules["raypeft.evaluation.decoding_job"] = SimpleNamespace(run_job=run_job_noting)  # type: ignore[assignment]
        return super().evaluate(job, decode_batch)


def test_a_job_killed_for_its_machines_memory_begins_again_with_half_the_prompts(
    run: Run, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ray raises once it has killed an actor for it; while the batch can be halved, it is no death."""
    take_memory_kills_for_deaths()
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(pool, "Evaluator", Noting)
    kills, get = iter(range(3)), ray.get

    def killed(result: Any) -> Any:
        found = get(result)  # so that the attempt is noted first
        if next(kills, None) is not None:
            raise ray.exceptions.OutOfMemoryError("1 worker(s) were killed due to the node running low on memory")
        return found

    monkeypatch.setattr(ray, "get", killed)
    with Progress(Plan(run.plan.resolved), Console(quiet=True)) as progress:
        assert pool.evaluate(run, [GOOD], progress) == []
    assert (run.folder / "attempts").read_text().split() == ["16", "8", "4", "2"]
