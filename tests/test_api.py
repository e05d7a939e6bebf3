"""Studies and runs from Python; the notebook of the documentation runs a study, reads it, and runs another."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import raypeft
from raypeft import Run, Study
from raypeft.errors import UserError
from tests.conftest import Call

NOTEBOOK = Path(__file__).parents[1] / "docs" / "example.ipynb"


def outputs(notebook: Any, source: str) -> str:
    """What the code cell that holds a text has shown, as text."""
    cell = next(one for one in notebook.cells if one.cell_type == "code" and source in one.source)
    shown = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.outputs]
    return "\n".join(shown)


@pytest.mark.slow(minutes=1)
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a kernel of its own, cell by cell: any exception fails."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, startup_timeout=300, kernel_name="python3").execute()
    (folder,) = tmp_path.glob("*/study")
    run = Run.open(folder)
    assert outputs(notebook, "run.failures").strip().endswith("()")
    assert len(run.trials()) == 4 and set(run.trials()["state"]) == {"finished"}
    tests = run.tests().set_index("cell")
    for cell in ("tiny-decoder/snippets/lora", "tiny-decoder/snippets/prefix_tuning"):
        written = json.loads((folder / "cells" / cell / "test.json").read_text(encoding="utf-8"))
        assert tests.loc[cell, "em@10"] == written["metrics"]["em@10"]
        assert tests.loc[cell, "codebleu"] == written["metrics"]["codebleu"]["score"]
        assert len(run.predictions(cell)) == 10
    assert len(run.reports()) == 4 * 3 and len(run.icl()) == 2
    assert "reverse a list" in outputs(notebook, "run.load")
    assert "tiny-decoder/snippets/ia3" in outputs(notebook, "Run.open")


def test_a_plan_says_what_the_command_says(call: Call) -> None:
    settings = ["icl.examples=[0, 1]", "resources.gpus_per_trial=0"]
    plan = Study.load("quickstart", techniques=["lora"], settings=settings).plan()
    said = call("study", "quickstart", "--technique", "lora", "--plan", *(f"--set={one}" for one in settings)).out

    def lasting(text: str) -> list[str]:
        """Without hours, which are measured anew."""
        timed = ("hours", "< 0.01", "on this")
        return [line for line in text.splitlines() if not any(word in line for word in timed)]

    assert lasting(str(plan)) == lasting(said)
    assert list(plan.cells["technique"]) == ["lora"] * len(plan.plan.cells)
    assert plan.hours > 0 and set(plan.memory["phase"]) == {"training", "decoding"}
    assert plan._repr_html_().startswith("<table") and "<script" not in plan._repr_html_()


def test_settings_are_taken_as_values_or_as_the_command_takes_them() -> None:
    texts = Study.load("quickstart", settings=["search.trials=4", "icl=null"]).resolved
    values = Study.load("quickstart", settings={"search.trials": 4, "icl": None}).resolved
    assert texts == values and values.study.trials == 4 and values.study.icl is None


def test_mistakes_are_said_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no study\.yaml"):
        Run.open(tmp_path)
    with pytest.raises(UserError, match=r"search\.trials"):
        Study.load("quickstart", settings={"search.trials": "many"})


def test_the_package_loads_its_api_when_it_is_asked_for() -> None:
    code = (
        "import sys, raypeft; before = set(sys.modules); raypeft.Study, raypeft.Run; "
        "print(sorted({'raypeft.api', 'pandas', 'torch', 'ray', 'datasets'} & (before | set(sys.modules))), "
        "'raypeft.api' in before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["['raypeft.api']", "False"]
    with pytest.raises(AttributeError, match="no attribute 'study'"):
        raypeft.study  # noqa: B018
