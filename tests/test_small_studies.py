"""Small whole studies: faults side by side, a technique that peft does not know."""

from pathlib import Path

import pytest

from raypeft.run import Run
from tests.driving import ALONE, SETTINGS, lines, study

pytestmark = pytest.mark.slow


def test_faults_end_their_trial_and_nothing_else(tmp_path: Path) -> None:
    """One technique that cannot be attached, one that diverges, and one that works, side by side."""
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "broken.yaml").write_text(
        "title: Broken\npeft: LoraConfig\narguments: {target_modules: [no_such_module]}\n"
        "paper: {r: 4, learning_rate: 1.0e-3}\n"
        "search: {r: {choice: [4, 8]}, learning_rate: {uniform: [1.0e-4, 1.0e-2]}}\n"
    )
    (tmp_path / "search_spaces" / "diverging.yaml").write_text(
        "title: Diverging\npaper: {learning_rate: 1.0e+30}\nsearch: {learning_rate: {choice: [1.0e+30]}}\n"
    )
    (tmp_path / "faults.yaml").write_text(
        "question: What happens to the others?\nmodels: [tiny-decoder]\ndatasets: [snippets]\n"
        "techniques: [broken, diverging, ia3]\n"
    )
    done = study("faults.yaml", *SETTINGS, *ALONE, "--set", "search.trials=2", "--set", "icl=null", cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    run = Run(tmp_path / "runs" / "faults")
    states = {row["trial"].split("·")[1]: set() for row in lines(run.trials_file)}
    for row in lines(run.trials_file):
        states[row["trial"].split("·")[1]].add(row["state"])
    assert states["broken"] == {"error"} and states["diverging"] == {"nan"}
    assert states["ia3"] <= {"finished", "stopped"}
    broken = next(row for row in lines(run.trials_file) if row["state"] == "error")
    assert "no_such_module" in broken["error"]
    assert "tiny-decoder/snippets/broken: no trial could be used: 2 error" in done.stdout
    tested = [cell.technique for cell in run.plan.cells if run.test(cell)]
    assert tested == ["ia3"]
    page = (run.report_folder / "index.html").read_text(encoding="utf-8")
    assert "no trial could be used: 2 error" in page and "no trial could be used: 2 nan" in page


def test_a_technique_peft_does_not_know_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "odd.yaml").write_text(
        "title: Odd\npeft: LoraConfig\narguments: {biass: none}\n"
        "paper: {learning_rate: 1.0e-3}\nsearch: {learning_rate: {choice: [1.0e-3]}}\n"
    )
    (tmp_path / "odd-study.yaml").write_text(
        "question: Is it understood?\nmodels: [tiny-decoder]\ndatasets: [snippets]\ntechniques: [odd]\n"
    )
    done = study("odd-study.yaml", *SETTINGS, cwd=tmp_path)
    assert done.returncode == 2
    assert "techniques.odd.arguments.biass" in done.stderr and "Traceback" not in done.stdout + done.stderr
