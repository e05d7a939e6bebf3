"""A research question from start to report at tiny scale, as a user runs it."""

import subprocess
import sys

import pytest

from raypeft.run import Run
from tests.report.browser import check_report

SETTINGS = (
    "mode=paper",
    "training.epochs=1",
    "training.evaluate_every=1",
    "validation.em_items=2",
    "resources.concurrent=1",
)
SUBSETS = ("data.train=24", "data.validation=8", "data.test=4", "test.decode_batch=8")


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("tiny")
    settings = [argument for setting in (*SETTINGS, *SUBSETS) for argument in ("--set", setting)]
    command = [sys.executable, "-m", "raypeft", "study", "rq3", "--scale", "tiny", "--model", "codegen2-1b", *settings]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(folder / "runs" / "rq3-tiny")


def test_the_third_question_runs_from_start_to_report(run: Run) -> None:
    assert [cell.dataset for cell in run.plan.cells] == ["snippets-collections", "snippets-texts", "snippets-joint"]
    for cell, dataset in run.plan.test_jobs:
        result = run.test(cell, dataset)
        assert result is not None and result["metrics"]["items"] == 4
    assert len(run.plan.test_jobs) == 4
    assert all(row["state"] == "finished" and row["paper_point"] for row in run.trials())
    page = (run.report_folder / "index.html").read_text(encoding="utf-8")
    assert "Does one LoRA adapter trained jointly on both data sets do as well as one for each?" in page


def test_its_report_works_in_a_browser(run: Run) -> None:
    check_report(run.report_folder / "index.html")
