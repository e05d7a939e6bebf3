"""The verbs report, status and trials."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from raypeft.cli.arguments import find_run
from raypeft.cli.results import report
from raypeft.cli.runs import status, trials
from raypeft.errors import UserError
from raypeft.output.files import write_text
from raypeft.runs.folder import Run

app = typer.Typer()
for verb in (report, status, trials):
    app.command()(verb)


def invoke(*arguments: str) -> str:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_report_prints_where_it_is(partial: Run) -> None:
    assert invoke("report", str(partial.folder)).strip() == str(partial.folder / "report" / "index.html")


def test_status_counts(partial: Run) -> None:
    output = invoke("status", str(partial.folder))
    assert "Cells   2 of 6 tested (2 tested, 1 test failed, 1 no usable trial, 1 not begun, 1 searching)" in output
    assert "Trials  13 of 18 ended (9 finished, 1 stopped, 3 oom, 1 running)" in output
    assert "ICL     6 of 8 runs done, 1 failed" in output
    assert "tiny-encoder-decoder/snippets/lora" in output and "all 3 trials ended as oom" in output
    assert "\x1b" not in output


def test_status_as_json(partial: Run) -> None:
    content = json.loads(invoke("status", str(partial.folder), "--json"))
    assert content["trials"] == {"planned": 18, "finished": 9, "stopped": 1, "oom": 3, "running": 1}
    assert content["icl"] == {"planned": 8, "done": 6, "failed": 1}
    assert content["by_cell"][0] == {
        "cell": "tiny-decoder/snippets/lora",
        "test_set": "snippets",
        "state": "tested",
        "note": None,
        "trials": {"finished": 2, "stopped": 1},
        "best_loss": 0.75,
        "em@10": 45.0,
    }


def test_trials_have_a_line_each(partial: Run) -> None:
    lines = invoke("trials", str(partial.folder)).splitlines()
    assert len(lines) == 1 + 14 + 1
    assert lines[2].split("  ")[0] == "tiny-decoder·lora·snippets·001"
    assert "stopped by ASHA at report 5" in lines[2] and "1.750" in lines[2]
    assert "finished, selected" in lines[3]
    assert "running" in lines[14]
    assert lines[-1] == "4 of 18 trials have not begun."


def test_trials_as_json(partial: Run) -> None:
    rows = json.loads(invoke("trials", str(partial.folder), "--json"))
    assert [row["state"] for row in rows].count("oom") == 3
    assert rows[0]["cell"] == "tiny-decoder/snippets/lora"
    assert rows[0]["hyperparameters"]["r"] == 16
    assert rows[0]["curve"][-1] == {"report": 6, "epoch": pytest.approx(1.2), "loss": 0.8}


def test_verbs_work_before_anything_has_happened(empty: Run) -> None:
    assert "0 of 18 ended (none has begun)" in invoke("status", str(empty.folder))
    assert "18 of 18 trials have not begun." in invoke("trials", str(empty.folder))


def test_a_run_is_found_by_folder_or_by_study(partial: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "runs" / "quickstart" / "study.yaml", partial.study_file.read_text(encoding="utf-8"))
    assert find_run(str(partial.folder)).folder == partial.folder
    assert find_run("quickstart").folder == tmp_path / "runs" / "quickstart"
    with pytest.raises(UserError, match=r"there is no run in other or runs/other\nRuns in \./runs: quickstart\."):
        find_run("other")


def test_without_any_run_it_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="Start one: raypeft study NAME"):
        find_run("quickstart")


def test_reading_verbs_import_neither_torch_nor_ray_nor_matplotlib() -> None:
    code = (
        "import sys, raypeft.cli.runs, raypeft.cli.runs, raypeft.cli.results; "
        "assert not {'torch', 'ray', 'matplotlib', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
