"""Reports of joint cells: a row a cell and test set."""

from pathlib import Path

import pytest

from benchmarks.recording import DATASET, DECODER, Recorder, block, prediction
from raypeft.cli.runs import _table
from raypeft.output.files import write_json, write_text
from raypeft.report import write
from raypeft.report.numbers.gather import gather
from raypeft.report.numbers.progress import standing
from raypeft.report.tables.cells import cell_table
from raypeft.report.tables.icl import comparison_table
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell, IclJob
from raypeft.spec.resolve import resolve

STUDY = """\
question: Does training on both help?
models: [tiny-decoder]
datasets: [snippets, both]
techniques: [lora, ia3]
catalogue:
  datasets:
    other: {title: Other, folder: /data/other}
    both: {title: Both, join: [snippets, other]}
icl: {examples: [1], seeds: [5]}
search: {trials: 1}
"""
JOINT, FAILED = Cell(DECODER, "both", "lora"), Cell(DECODER, "both", "ia3")


@pytest.fixture
def joint(tmp_path: Path) -> Run:
    """LoRA tested on both parts, IA3 on one; ICL on the shared part."""
    write_text(tmp_path / "joint.yaml", STUDY)
    run = Run(tmp_path / "run")
    write_text(run.study_file, resolve(str(tmp_path / "joint.yaml")).dump())
    record = Recorder(run)
    for cell in (JOINT, FAILED):
        record.trial(cell, 0, {"learning_rate": 0.0003}, [2.0, 1.0], 30.0)
        record.select(cell, 0, 1, 1.0, 30.0, {"learning_rate": 0.0003})
    record.test(JOINT, block(30.0, 45.0, 62.5, 60.0), [prediction(1)], DATASET)
    record.test(JOINT, block(10.0, 15.0, 32.5, 30.0), [prediction(3)], "other")
    record.test(FAILED, block(10.0, 50.0, 32.5, 30.0), [], DATASET)
    write_json(run.test_file(FAILED, "other").with_suffix(".error.json"), {"error": "ValueError: no", "time": 1.0})
    record.icl(IclJob(DECODER, DATASET, 1, 5), block(5.0, 10.0, 20.0, 19.0))
    return run


def test_a_row_a_cell_and_test_set(joint: Run) -> None:
    rows = gather(joint).cells
    assert [(row.name, row.state, row.metrics.get("em@10"), row.against_icl, row.best) for row in rows] == [
        ("tiny-decoder/snippets/lora", "not begun", None, None, False),
        ("tiny-decoder/snippets/ia3", "not begun", None, None, False),
        ("tiny-decoder/both/lora on snippets", "tested", 45.0, 35.0, False),
        ("tiny-decoder/both/lora on other", "tested", 15.0, None, True),
        ("tiny-decoder/both/ia3 on snippets", "tested", 50.0, 40.0, True),
        ("tiny-decoder/both/ia3 on other", "test failed", None, None, False),
    ]


def test_cells_are_counted_once_and_tested_when_all_their_tests_are(joint: Run) -> None:
    numbers = gather(joint)
    assert numbers.tested == 1 and len(numbers.states) == 4
    assert standing(numbers).cells == {"not begun": 2, "tested": 1, "test failed": 1}
    assert [row.cell for row in numbers.searched] == joint.plan.cells


def test_tables_name_the_test_set(joint: Run) -> None:
    numbers = gather(joint)
    shown = next(column for column in cell_table(numbers).columns if column.key == "test_set")
    assert shown.title == "Tested on"
    assert [shown.text(row) for row in numbers.cells[2:]] == ["Snippets", "Other", "Snippets", "Other"]
    pairs = comparison_table(numbers).rows
    assert [(pair.dataset, pair.test_set, len(pair.cells), len(pair.icl)) for pair in pairs] == [
        ("snippets", "snippets", 2, 1),
        ("both", "snippets", 2, 1),
        ("both", "other", 2, 0),
    ]
    assert [str(text) for text in _table(numbers).columns[0].cells][2] == "tiny-decoder/both/lora on snippets"


def test_the_page_shows_each_test_set(joint: Run) -> None:
    page = write(joint).read_text(encoding="utf-8")
    assert "Tiny decoder on Both, tested on Other" in page
    assert "Test of tiny-decoder/both/ia3 on other" in page
    assert "1 of 4 tested" in page
    assert (joint.report_folder / "figures" / "comparison--tiny-decoder--both--other.svg").exists()
    assert (joint.report_folder / "figures" / "comparison--tiny-decoder--both--snippets.svg").exists()
