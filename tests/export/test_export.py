"""Exported folders, used as a stranger uses them: by the lines of their card, in a process without raypeft."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.recording import block
from raypeft.errors import UserError
from raypeft.evaluation.generate import generate
from raypeft.export.export import export, write
from raypeft.modeling.source import origin
from raypeft.output.files import write_json
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell

INTENT = "reverse a list"
# Runs the Python of each card named on the command line, and prints what each of them printed.
STRANGER = """
import contextlib, io, json, re, sys
from pathlib import Path

printed = {}
for folder in sys.argv[1:]:
    (code,) = re.findall(r"```python\\n(.*?)\\n```", (Path(folder) / "README.md").read_text(encoding="utf-8"), re.S)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(code, {})
    printed[folder] = output.getvalue().splitlines()
assert "raypeft" not in sys.modules
print(json.dumps(printed))
"""


def stranger(*folders: Path) -> dict[str, list[str]]:
    """What the code of each folder's card prints."""
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, *map(str, folders)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def candidates(run: Run, cell: Cell) -> list[str]:
    (row,) = generate(run, cell, [INTENT])
    return row.candidates


def front(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[Cell, Path]:
    home = tmp_path_factory.mktemp("exported")
    folders = {}
    for cell in run.plan.cells:
        if (cell.model, cell.technique) != ("codegen2", "vera"):
            folders[cell] = unchecked(run, cell, home / cell.id)
    return folders


def unchecked(run: Run, cell: Cell, folder: Path, *, merge: bool = False) -> Path:
    """An exported folder that raypeft has not compared with the test, its base model called by where it lies."""
    folder.mkdir(parents=True)
    base = origin(cell.model, run.plan.resolved.models[cell.model])[0]
    write(run, cell, folder, merge=merge, base_model=base, name=str(folder), license="unknown", check=False)
    return folder


def test_exported_weights_give_the_same_candidates_without_raypeft(run: Run, exported: dict[Cell, Path]) -> None:
    printed = stranger(*exported.values())
    found = {cell.id: printed[str(folder)] for cell, folder in exported.items()}
    expected = {cell.id: candidates(run, cell) for cell in exported}
    assert len(found) == 20
    assert {cell: texts for cell, texts in found.items() if texts != expected[cell]} == {}
    assert len({tuple(texts) for texts in expected.values()}) > 12, "the weights must matter"


def test_merged_models_give_the_same_candidates_without_peft(run: Run, tmp_path: Path) -> None:
    merged = [
        cell
        for cell in run.plan.cells
        if (cell.technique, cell.model) in [("lora", "tiny-decoder"), ("ia3", "codegen2"), ("vera", "codegen2")]
    ]
    for cell in merged:
        unchecked(run, cell, tmp_path / cell.id, merge=True)
        assert not (tmp_path / cell.id / "adapter_config.json").exists()
        assert "peft" not in (tmp_path / cell.id / "README.md").read_text(encoding="utf-8").split("```")[1]
    printed = stranger(*(tmp_path / cell.id for cell in merged))
    assert {cell.id: printed[str(tmp_path / cell.id)] for cell in merged} == {
        cell.id: candidates(run, cell) for cell in merged
    }


def test_virtual_tokens_cannot_be_merged(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Prompt tuning adds virtual tokens before the text, which cannot be merged"):
        export(run, Cell("tiny-decoder", "snippets", "prompt_tuning"), tmp_path / "out", merge=True)
    assert list(tmp_path.iterdir()) == []


def test_rows_shared_among_layers_cannot_be_put_back(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="VeRA shares its output rows"):
        export(run, Cell("codegen2", "snippets", "vera"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_only_what_belongs_to_the_adapter_is_in_the_folder(exported: dict[Cell, Path]) -> None:
    folder = exported[Cell("tiny-decoder", "snippets", "p_tuning")]
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_a_folder_with_something_in_it_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        export(run, run.plan.cells[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_card_has_the_numbers_and_the_licence(run: Run, tmp_path: Path) -> None:
    cell = Cell("tiny-decoder", "snippets", "lora")
    write_json(
        run.test_file(cell), {"cell": cell.id, "trial": "", "metrics": block(12.5, 37.5, 61.25, 58.0), "seconds": 1.0}
    )
    try:
        (tmp_path / "out").mkdir()
        names = {"base_model": "org/base", "license": "mit", "name": "me/tuned"}
        write(run, cell, tmp_path / "out", merge=False, **names, check=False)
    finally:
        run.test_file(cell).unlink()
    metadata = front(tmp_path / "out")
    assert metadata["license"] == "mit" and metadata["base_model"] == "org/base"
    assert metadata["library_name"] == "peft" and metadata["pipeline_tag"] == "text-generation"
    (result,) = metadata["model-index"][0]["results"]
    assert [(metric["name"], metric["value"]) for metric in result["metrics"]] == [
        ("EM@1", 12.5),
        ("EM@10", 37.5),
        ("CodeBLEU", 61.25),
        ("chrF", 50.0),
    ]
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| EM@10 (%) | 37.5 |" in text and "On the 160 items of Snippets's test split" in text
    assert "r = 16, lora_alpha = 32, lora_dropout = 0.05, learning_rate = 0.0003" in text
    assert "model = PeftModel.from_pretrained(model, 'me/tuned')" in text
    assert "lowest validation loss of the 2 trials" in text
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/base"


def test_a_cell_without_a_selection_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "study.yaml").write_bytes(run.study_file.read_bytes())
    other, cell = Run(tmp_path / "run"), run.plan.cells[0]
    with pytest.raises(UserError, match="has no selected trial yet"):
        export(other, cell, tmp_path / "out")
    write_json(
        other.cell_folder(cell) / "selection.json",
        {"cell": cell.id, "trial": None, "reason": "no trial could be used: 2 oom", "trials": {"oom": 2}},
    )
    with pytest.raises(UserError, match="no trial could be used: 2 oom"):
        export(other, cell, tmp_path / "out")
