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
from raypeft.files import read_json, write_json, write_text
from raypeft.progress import Progress
from raypeft.run import Run
from raypeft.spec.plan import IclJob, Plan
from raypeft.spec.resolve import resolve
from tests.conftest import SMALL

FAILED: list[str] = []


def job(seed: int) -> Job:
    return Job("icl", IclJob("tiny-decoder", "snippets", 1, seed))


BAD, GOOD = job(42), job(777)


def run_job_on_a_gpu(run: Run, job: Job) -> dict[str, Any]:
    """As on a GPU: a kernel of one job fails, and after it every call in the same process."""
    with (run.folder / "attempts").open("a") as file:
        file.write(f"{job.id}\t{os.getpid()}\n")
    if job == BAD or FAILED:
        FAILED.append(job.id)
        raise RuntimeError("CUDA error: device-side assert triggered")
    write_json(job.result_file(run), {"metrics": {"em@1": 50.0}})
    return {"metrics": {"em@1": 50.0}}


class OnGpu(pool.Evaluator):
    def evaluate(self, job: Job) -> str:
        sys.modules["raypeft.evaluation.decoding_job"] = SimpleNamespace(run_job=run_job_on_a_gpu)  # type: ignore[assignment]
        return super().evaluate(job)


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
