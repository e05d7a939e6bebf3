"""GPUs that Ray has: what a trial reserves of them, and that torch can use them."""

from pathlib import Path

import pytest
import torch

from raypeft.errors import UserError
from raypeft.evaluation import pool
from raypeft.output.files import write_text
from raypeft.runs.folder import Run
from raypeft.spec.resolve import resolve
from raypeft.spec.sections import Resources
from raypeft.sweep import worker
from raypeft.sweep.sweep import check_gpu, trial_resources


@pytest.mark.parametrize(
    ("asked", "cluster", "reserved"),
    [
        ({}, {"CPU": 8.0, "GPU": 2.0}, {"cpu": 1, "gpu": 1}),
        ({}, {"CPU": 8.0}, {"cpu": 1}),
        ({"gpus_per_trial": 0.5, "cpus_per_trial": 4}, {"CPU": 2.0, "GPU": 1.0}, {"cpu": 2, "gpu": 0.5}),
        ({"gpus_per_trial": 0}, {"CPU": 8.0, "GPU": 2.0}, {"cpu": 1}),
    ],
)
def test_a_trial_reserves_what_there_is(
    asked: dict[str, float], cluster: dict[str, float], reserved: dict[str, float]
) -> None:
    assert trial_resources(Resources.model_validate(asked), cluster) == reserved


def new_run(folder: Path, *settings: str) -> Run:
    run = Run(folder)
    write_text(run.study_file, resolve("quickstart", settings=settings).dump())
    return run


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU that Ray believes in is there")
def test_a_gpu_that_torch_cannot_use_is_said_before_anything_runs(ray_session: None, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^resources\.gpus_per_trial: Ray has a GPU for trials, but torch 2\S+ \(built"
    ):
        check_gpu(new_run(tmp_path))


def test_on_the_cpu_no_gpu_is_asked_for(ray_session: None, tmp_path: Path) -> None:
    check_gpu(new_run(tmp_path, "resources.gpus_per_trial=0"))


class Reached(Exception):
    """Raised instead of setting up the process."""


def test_workers_hide_gpus_before_they_load_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of trials and of evaluations; what comes after the step would fail without a run."""

    def reached() -> None:
        raise Reached

    for module in (worker, pool):
        monkeypatch.setattr(module, "omit_gpus", reached)
    monkeypatch.setattr(worker, "_plan", lambda folder: None)
    with pytest.raises(Reached):
        worker._train(Run(tmp_path), {}, lambda report: None)
    with pytest.raises(Reached):
        pool.Evaluator(str(tmp_path), 1)
