"""A research question from start to report at tiny scale, as a user runs it."""

import csv
import json

import pytest

from raypeft.runs.folder import Run
from tests.driving import lines, snapshot, study
from tests.report.browser import check_report

SETTINGS = (
    "mode=paper",
    "training.epochs=1",
    "training.evaluate_every=1",
    "validation.em_items=2",
    "resources.concurrent=1",
)
SUBSETS = ("data.train=24", "data.validation=8", "data.test=4", "test.decode_batch=8")
OWN = "catalogue.datasets.snippets-texts={title: Texts, folder: 'embedded:snippets-texts', max_code_tokens: 40}"
ARGUMENTS = ["rq3", "--scale", "tiny", "--model", "codegen2-1b"]
ARGUMENTS += [argument for setting in (*SETTINGS, *SUBSETS, OWN) for argument in ("--set", setting)]
# what a test of the joint cell writes again
WRITTEN = {"predictions-snippets-texts.jsonl", "predictions-snippets-texts.items.npz"}

pytestmark = pytest.mark.slow(minutes=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("tiny")
    done = study(*ARGUMENTS, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(folder / "runs" / "rq3-tiny")


def test_the_third_question_runs_from_start_to_report(run: Run) -> None:
    assert [cell.dataset for cell in run.plan.cells] == ["snippets-collections", "snippets-texts", "snippets-joint"]
    for cell, dataset in run.plan.test_jobs:
        result = run.test(cell, dataset)
        assert result is not None and result.items == 4
    assert len(run.plan.test_jobs) == 4
    assert all(row.state == "finished" and row.paper_point for row in run.trials())
    page = (run.report_folder / "index.html").read_text(encoding="utf-8")
    assert "Does one LoRA adapter trained jointly on both data sets do as well as one for each?" in page
    # Four items cannot support a difference.
    joint, _ = json.loads((run.report_folder / "results.json").read_text(encoding="utf-8"))["answer"]
    assert joint.startswith("After joint training, EM@10 on the test items was not told apart from that after training")
    with (run.report_folder / "tables" / "differences.csv").open(encoding="utf-8", newline="") as file:
        compared = [(row["test_set"], row["dataset"], row["second_dataset"]) for row in csv.DictReader(file)]
    assert compared == [(name, "snippets-joint", name) for name in ("snippets-collections", "snippets-texts")]


def test_its_report_works_in_a_browser(run: Run) -> None:
    check_report(run.report_folder / "index.html")


def test_a_joint_data_set_is_trained_once_and_tested_on_each_part(run: Run) -> None:
    joint = run.plan.cells[-1]
    assert [row["cell"] for row in lines(run.trials_file)].count(joint.id) == 1
    parts = ("snippets-collections", "snippets-texts")
    tests = {name: result.content() for name in parts if (result := run.test(joint, name))}
    assert {name: (test["dataset"], test["max_new_tokens"]) for name, test in tests.items()} == {
        "snippets-collections": ("snippets-collections", 32),
        "snippets-texts": ("snippets-texts", 40),
    }
    references = [{row["reference"] for row in lines(run.predictions_file(joint, name))} for name in parts]
    assert references[0].isdisjoint(references[1])
    assert sorted(path.name for path in run.cell_folder(joint).glob("*.json")) == [
        "selection.json",
        "test-snippets-collections.json",
        "test-snippets-texts.json",
    ]
    items = {name: entry["train"].items for name, entry in run.manifest().datasets.items()}
    assert items == {"snippets-collections": 24, "snippets-texts": 24, "snippets-joint": 48}
    before = snapshot(run.folder)
    run.test_file(joint, "snippets-texts").unlink()
    again = study(*ARGUMENTS, "--stage", "test", cwd=run.folder.parents[1])
    assert again.returncode == 0, again.stdout + again.stderr
    result = run.test(joint, "snippets-texts")
    assert result is not None and result.metrics == tests["snippets-texts"]["metrics"]
    changed = {path for path, state in snapshot(run.folder).items() if before[path] != state}
    assert {path.rpartition("/")[2] for path in changed} <= {"test-snippets-texts.json"} | WRITTEN
