"""Jobs: what there is to do, where results lie, and who does what next."""

from pathlib import Path

import pytest

from raypeft.data.prompts import icl_prompt
from raypeft.data.sources import load_split
from raypeft.evaluation.decoding_job import run_job
from raypeft.evaluation.jobs import Job, jobs_of
from raypeft.evaluation.pool import _next
from raypeft.files import read_json, read_lines, write_json, write_text
from raypeft.run import Run
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


def test_an_actor_stays_with_its_model() -> None:
    jobs = [Job("icl", IclJob(model, "d", 0, seed)) for model in ("a", "b", "c") for seed in (1, 2)]
    assert _next(jobs, "b", {"a", "b"}).model == "b"
    assert _next(jobs, None, {"a"}).model == "b"  # a model that no other actor has loaded
    assert _next(jobs, "x", {"a", "b", "c"}) == jobs[0]


def test_an_icl_job_prompts_with_drawn_examples(run: Run, small_plan: Plan) -> None:
    job = IclJob("tiny-decoder", "snippets", 2, 42)
    result = run_job(run, Job("icl", job))
    datasets, subsets = small_plan.resolved.datasets, small_plan.resolved.study.data
    train = {item.id: item for item in load_split(datasets, "snippets", "train", subsets)}
    test = load_split(datasets, "snippets", "test", subsets)
    assert len(set(result["example_ids"])) == 2
    examples = [train[identifier] for identifier in result["example_ids"]]
    rows = list(read_lines(run.icl_file(job).with_suffix(".jsonl")))
    assert [row["prompt"] for row in rows] == [icl_prompt(item.intent, examples) for item in test]
    assert [row["reference"] for row in rows] == [item.code for item in test]
    assert read_json(run.icl_file(job)) == result
    assert result["metrics"]["items"] == 10
    other = run_job(run, Job("icl", IclJob("tiny-decoder", "snippets", 2, 777)))
    assert other["example_ids"] != result["example_ids"]
