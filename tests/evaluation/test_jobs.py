"""Jobs: what there is to do, where results lie, and who does what next."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from raypeft.data.sources import load_split
from raypeft.evaluation.decoding_job import run_job
from raypeft.evaluation.jobs import Job, jobs_of
from raypeft.evaluation.pool import Evaluator, next_job
from raypeft.modeling.loading import study_base
from raypeft.output.files import read_json, read_lines, write_json, write_text
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell, IclJob, Plan


@pytest.fixture()
def run(tmp_path: Path, small_plan: Plan) -> Run:
    run = Run(tmp_path)
    write_text(run.study_file, small_plan.resolved.dump())
    return run


def test_cells_without_a_usable_trial_have_no_test_job(run: Run) -> None:
    first, second = run.plan.cells[:2]
    write_json(run.cell_folder(first) / "selection.json", {"trial": "x"})
    write_json(run.cell_folder(second) / "selection.json", {"trial": None, "reason": "2 nan"})
    jobs = jobs_of(run.plan, run)
    assert [job.target for job in jobs if job.kind == "test"] == [first]
    assert sum(job.kind == "icl" for job in jobs) == 2 * 3


def test_files_of_a_job(run: Run) -> None:
    test = Job("test", Cell("m", "d", "t"))
    assert test.result_file(run) == run.folder / "cells/m/d/t/test.json"
    assert test.predictions_file(run) == run.folder / "cells/m/d/t/predictions.jsonl"
    part = Job("test", Cell("m", "d", "t"), "e")
    assert part.result_file(run) == run.folder / "cells/m/d/t/test-e.json"
    assert part.error_file(run) == run.folder / "cells/m/d/t/test-e.error.json"
    icl = Job("icl", IclJob("m", "d", 3, 42))
    assert icl.result_file(run) == run.folder / "icl/m/d/3-shot-seed-42.json"
    assert icl.error_file(run) == run.folder / "icl/m/d/3-shot-seed-42.error.json"


def test_an_actor_stays_with_its_model(small_plan: Plan) -> None:
    jobs = [Job("icl", IclJob(model, "d", 0, seed)) for model in ("a", "b", "c") for seed in (1, 2)]
    a, b, c = (small_plan.base(job.target) for job in jobs[::2])
    assert next_job(small_plan, jobs, b, {a, b}).model == "b"
    assert next_job(small_plan, jobs, None, {a}).model == "b"  # a model that no other actor has loaded
    assert next_job(small_plan, jobs, ("x", None), {a, b, c}) == jobs[0]


def test_an_icl_job_prompts_with_drawn_examples(run: Run, small_plan: Plan) -> None:
    job = IclJob("tiny-decoder", "snippets", 2, 42)
    result = run_job(run, Job("icl", job)).content()
    datasets, subsets = small_plan.resolved.datasets, small_plan.resolved.study.data
    train = {item.id: item for item in load_split(datasets, "snippets", "train", subsets)}
    test = load_split(datasets, "snippets", "test", subsets)
    assert len(set(result["example_ids"])) == 2
    examples = [train[identifier] for identifier in result["example_ids"]]
    rows = list(read_lines(run.icl_file(job).with_suffix(".jsonl")))
    shots = "".join(f"\n### Instruction:\n{item.intent}\n### Response:\n{item.code}\n" for item in examples)
    header = "Generate Python code given a natural language instruction."
    assert [row["prompt"] for row in rows] == [
        f"{header}{shots}\n### Instruction:\n{item.intent}\n### Response:\n" for item in test
    ]
    assert [row["reference"] for row in rows] == [item.code for item in test]
    assert read_json(run.icl_file(job)) == result
    assert result["metrics"]["items"] == 10
    other = run_job(run, Job("icl", IclJob("tiny-decoder", "snippets", 2, 777))).content()
    assert other["example_ids"] != result["example_ids"]


@contextmanager
def memory_for(run: Run, job: Job, rows: int) -> Iterator[None]:
    """Memory for so many rows in the base model of a job."""

    def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if inputs[0].shape[0] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    handle = study_base(run.plan.resolved, job.target).model.get_output_embeddings().register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def test_memory_that_runs_out_halves_the_batch(run: Run) -> None:
    """Ten items of ten beams each: 16, 8 and 4 at once take more than 30 rows."""
    job = Job("icl", IclJob("tiny-decoder", "snippets", 1, 42))
    whole = run_job(run, job).content()
    assert (whole["decode_batch"], whole["peak_memory_mib"]) == (16, whole["decoding_memory_mib"])
    assert (whole["decoding_reserved_mib"] is None) != torch.cuda.is_available()
    assert "training_memory_mib" not in whole
    predictions = list(read_lines(job.predictions_file(run)))
    with memory_for(run, job, 30):
        short = run_job(run, job).content()
    assert short["decode_batch"] == 2
    assert short["metrics"] == whole["metrics"]
    assert [row["candidates"] for row in read_lines(job.predictions_file(run))] == [
        row["candidates"] for row in predictions
    ]


def test_without_memory_for_one_item_the_job_fails_as_oom(run: Run) -> None:
    job = Job("icl", IclJob("tiny-decoder", "snippets", 1, 777))
    evaluator = Evaluator(str(run.folder), threads=1)
    with memory_for(run, job, 9):
        assert evaluator.evaluate(job) == "failed: out of memory"
    failure = read_json(job.error_file(run))
    assert failure is not None and failure["end"] == "oom" and "OutOfMemoryError" in failure["error"]
    assert not job.result_file(run).exists()
    assert evaluator.evaluate(job).startswith("EM@1")
    assert not job.error_file(run).exists()
