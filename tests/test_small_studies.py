"""Small whole studies: faults side by side, a joint data set, a technique that peft does not know."""

import json
from pathlib import Path

import pytest

from raypeft.run import Run
from tests.driving import ALONE, SETTINGS, lines, snapshot, study

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


def test_a_joint_data_set_is_trained_once_and_tested_on_each_part(tmp_path: Path) -> None:
    for split, size in (("train", 8), ("validation", 4), ("test", 5)):
        rows = [{"nl": f"return {number}", "cmd": f"x = {number}\nreturn x"} for number in range(size)]
        path = tmp_path / "other" / f"{split}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "joint.yaml").write_text(
        "question: Does training on both help?\nmodels: [tiny-decoder]\ndatasets: [both]\ntechniques: [lora]\n"
        f"catalogue:\n  datasets:\n    other: {{title: Other, folder: {tmp_path}/other, max_code_tokens: 40}}\n"
        "    both: {title: Both, join: [snippets, other]}\n"
    )
    arguments = ["joint.yaml", *SETTINGS, *ALONE, "--set", "search.trials=1"]
    done = study(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = Run(tmp_path / "runs" / "joint")
    assert len(lines(run.trials_file)) == 1
    (cell,) = run.plan.cells
    tests = {name: run.test(cell, name) or {} for name in ("snippets", "other")}
    found = {name: (test["dataset"], test["metrics"]["items"], test["max_new_tokens"]) for name, test in tests.items()}
    assert found == {"snippets": ("snippets", 10, 32), "other": ("other", 5, 40)}
    assert {row["reference"].count("\n") for row in lines(run.predictions_file(cell, "other"))} == {1}
    assert sorted(path.name for path in run.cell_folder(cell).glob("*.json")) == [
        "selection.json",
        "test-other.json",
        "test-snippets.json",
    ]
    assert run.manifest()["datasets"]["both"]["train"]["items"] == 40 + 8
    before = snapshot(run.folder)
    again = study(*arguments, cwd=tmp_path)
    assert again.returncode == 0 and snapshot(run.folder) == before
    run.test_file(cell, "other").unlink()
    third = study(*arguments, "--stage", "test", cwd=tmp_path)
    assert third.returncode == 0
    assert (run.test(cell, "other") or {})["metrics"] == tests["other"]["metrics"]


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
