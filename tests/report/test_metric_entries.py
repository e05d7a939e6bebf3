"""A metric that is one entry more is in every table, in what programs read, in comparisons, cards and `evaluate`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmarks.recording import DATASET, DECODER, record_compared
from raypeft.cli import app
from raypeft.export.card import Export, card
from raypeft.metrics.entries import METRICS, WILCOXON, Metric
from raypeft.metrics.items import ItemScores, measure
from raypeft.report import write
from raypeft.report.numbers.gather import gather
from raypeft.report.numbers.weighing import weigh
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell
from tests.export.test_card import SNIPPET


def _count(references, predictions):
    pairs = zip(references, predictions, strict=True)
    return np.array([[1, len(b) - len(a)] for a, b in pairs], dtype=np.float64).reshape(-1, 2)


# How much longer than the reference, a hundredth of a percent a character: lower is better.
LONGER = Metric(
    title="Excess length",
    heading="longer",
    width=2,
    count=_count,
    compose=lambda sums: (50 + sums[..., 1] / np.maximum(sums[..., 0], 1) / 100)[..., None],
    test=WILCOXON,
    higher_is_better=False,
    explanation="than the reference",
    text=lambda value: f"{value:.3f} L",
)


@pytest.fixture
def longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "longer", LONGER)


@pytest.fixture
def run(longer: None, tmp_path: Path) -> Run:
    run = record_compared(tmp_path / "run")
    write(run)
    return run


def test_a_report_has_it(run: Run) -> None:
    folder = run.report_folder
    cells, icl, differences = (
        (folder / "tables" / f"{name}.md").read_text(encoding="utf-8") for name in ("cells", "icl", "differences")
    )
    assert "| longer | longer, 95 % |" in cells and "longer: than the reference, lower is better" in cells
    assert "CodeBLEU, chrF and Excess length in percent" in cells and " L | " in cells
    assert "| longer |" in icl and "longer, p | Cliff's delta" in differences
    assert "CodeBLEU, chrF and Excess length: Wilcoxon's signed-rank test" in differences
    assert "<th" in (page := (folder / "index.html").read_text(encoding="utf-8")) and "longer, 95 %" in page
    evidence = weigh(gather(run)).evidence
    assert {"longer", "chrf", "codebleu"} <= {found.metric for found in evidence.comparisons}
    first = next(found for found in evidence.comparisons if found.metric == "longer" and hasattr(found.second, "cell"))
    assert (back := evidence.between(first.second, first.first, "longer")) is not None
    assert back.effect == -first.effect


def test_programs_read_it(run: Run) -> None:
    tests = [run.test(cell, dataset) for cell, dataset in run.plan.test_jobs]
    assert all(isinstance(test.metrics["longer"], float) for test in tests if test)
    content = json.loads((run.report_folder / "results.json").read_text())
    assert all(row["longer_low"] < row["longer"] < row["longer_high"] for row in content["cells"])
    assert all(row["longer_mean"] is not None for row in content["icl"])
    assert all(row["longer_p_holm"] is not None for row in content["differences"])
    tidy = pq.read_table(run.report_folder / "results.parquet").to_pylist()
    assert {row["kind"] for row in tidy if row["metric"] == "longer"} == {"technique", "icl"}


def test_a_card_and_a_recommendation_have_it(run: Run) -> None:
    text = card(Export(run, Cell(DECODER, DATASET, "lora"), "org/base", "decoder", SNIPPET, False, "mit"))
    assert "name: Excess length" in text and "| Excess length | 49.960 L |" in text
    ended = CliRunner().invoke(app, ["recommend", str(run.folder)])
    assert ended.exit_code == 0 and ", Excess length 49.9" in ended.output


def test_evaluate_has_it(longer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from raypeft.evaluation import given

    def evaluate_given(plan, base, adapter, name, items, progress):  # the metrics of a model that copies
        texts = [item.code for item in items]
        block = measure([""] * len(texts), texts, [[text] for text in texts]).block()
        rest = {"precision": "fp32", "beams": 2, "candidates": 1, "seconds": 0.0}
        return {"model": "m", "adapter": adapter, "dataset": name, "metrics": block, **rest}, []

    monkeypatch.setattr(given, "load_given", lambda plan, quantization: None)
    monkeypatch.setattr(given, "evaluate_given", evaluate_given)
    ended = CliRunner().invoke(app, ["evaluate", "--model", "tiny-decoder", "--dataset", "snippets"])
    assert ended.exit_code == 0, ended.output
    assert "Similarity CodeBLEU 100.00, flat 91.04, chrF 100.00, longer 50.00 (percent)" in ended.output


@pytest.mark.parametrize("missing", ["longer", "chrf"])
def test_results_of_before_it_are_reported(
    compared: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    shutil.copytree(compared.folder, tmp_path / "run")
    run = Run(tmp_path / "run")
    shutil.rmtree(run.report_folder, ignore_errors=True)
    for file in [run.test_file(cell, dataset) for cell, dataset in run.plan.test_jobs]:
        content = json.loads(file.read_text())
        content["metrics"].pop(missing, None)
        file.write_text(json.dumps(content))
    monkeypatch.setitem(METRICS, "longer", LONGER)
    write(run)
    content = json.loads((run.report_folder / "results.json").read_text())
    assert all(row[missing] is None and row["codebleu"] is not None for row in content["cells"])
    text = card(Export(run, Cell(DECODER, DATASET, "lora"), "org/base", "decoder", SNIPPET, False, "mit"))
    assert METRICS[missing].title not in text and "CodeBLEU" in text


def test_items_measured_before_it_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(["a"], ["x"], [["x"]]).save(tmp_path / "items.npz")
    monkeypatch.setitem(METRICS, "longer", LONGER)
    assert list(ItemScores.load(tmp_path / "items.npz").counts) == ["codebleu", "codebleu_flat", "chrf"]
