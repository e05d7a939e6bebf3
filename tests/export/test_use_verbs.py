"""The verbs generate, export and evaluate, on weights that have been selected."""

import io
import json
from pathlib import Path

import pytest

from benchmarks.recording import block
from raypeft.evaluation.generate import generate
from raypeft.runs.folder import Run
from raypeft.runs.records import Prediction
from raypeft.spec.plan import Cell
from tests.conftest import Call, call
from tests.export.test_export import unchecked

__all__ = ["call"]

LORA = Cell("tiny-decoder", "snippets", "lora")
CODEGEN_LORA = Cell("codegen2", "snippets", "lora")


def test_generate_prints_candidates_of_each_intent(call: Call, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("reverse a list\n\nsort a list\n"))
    ended = call("generate", str(run.folder), "tiny-decoder/lora", "-", "--candidates", "2", "--json")
    assert ended.code == 0
    rows = json.loads(ended.out)
    expected = generate(run, LORA, ["reverse a list", "sort a list"])
    assert [row["intent"] for row in rows] == ["reverse a list", "sort a list"]
    assert [row["candidates"] for row in rows] == [row.candidates[:2] for row in expected]
    assert rows[0]["prompt"] == "### Instruction:\nreverse a list\n### Response:\n"
    shown = call("generate", str(run.folder), "tiny-decoder/lora", "reverse a list").out.splitlines()
    assert shown[0] == "reverse a list" and len(shown) == 5
    assert expected[0].candidates[0] in shown[1]


def test_generate_refuses_what_cannot_be(call: Call, run: Run) -> None:
    ended = call("generate", str(run.folder), "tiny-decoder/lora", "x", "--candidates", "9")
    assert ended.code == 2 and "the study's search keeps 3 candidates, not 9" in ended.err
    ended = call("generate", str(run.folder), "tiny-decoder/lora", "  ")
    assert ended.code == 2 and "there is no intent" in ended.err


@pytest.mark.parametrize("cell", [LORA, CODEGEN_LORA])
def test_an_exported_adapter_is_evaluated_as_in_its_study(call: Call, run: Run, cell: Cell, tmp_path: Path) -> None:
    assert call("export", str(run.folder), cell.id, "adapter").code == 0
    (tmp_path / "study.yaml").write_text(
        json.dumps({**run.plan.resolved.study.model_dump(mode="json"), "data": {"test": 3}})
    )
    evaluate = ["evaluate", "--study", "study.yaml", "--model", cell.model, "--dataset", "snippets", "--json"]
    ended = call(*evaluate, "--adapter", "adapter", "--out", "out.jsonl")
    assert ended.code == 0, ended.err
    rows = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = generate(run, cell, [row["intent"] for row in rows])
    assert [row["candidates"] for row in rows] == [row.candidates for row in expected]
    result = json.loads(ended.out)
    assert result["metrics"]["items"] == 3 and result["beams"] == 3 and result["adapter"] == "adapter"
    assert json.loads(Path("out.metrics.json").read_text(encoding="utf-8")) == result
    again = call(*evaluate, "--adapter", "adapter", "--out", "out.jsonl")
    assert again.code == 2 and "out.jsonl: exists already" in again.err


def test_an_adapter_of_another_architecture_is_refused(call: Call, run: Run) -> None:
    unchecked(run, LORA, Path("adapter"))
    ended = call(
        *("evaluate", "--model", "tiny-encoder-decoder", "--dataset", "snippets", "--adapter", "adapter"),
        *("--set", "data.test=2"),
    )
    assert ended.code == 2 and "--adapter adapter: cannot be put on" in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split", "dev"), "--split: 'dev' is not a split"),
        (("--quantization", "2bit"), "--quantization: '2bit' is unknown"),
        (("--adapter", "./nowhere"), "--adapter ./nowhere: holds no adapter"),
        (("--dataset", "nothing"), "datasets: unknown 'nothing'"),
    ],
)
def test_evaluate_refuses_before_anything_is_loaded(call: Call, arguments: tuple[str, ...], message: str) -> None:
    ended = call("evaluate", "--model", "tiny-decoder", "--dataset", "snippets", *arguments)
    assert ended.code == 2 and message in ended.err


@pytest.mark.parametrize("verb", ["export", "evaluate"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(
    call: Call, run: Run, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(*arguments: object, **further: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr("raypeft.export.folder.load_base", loads)
    monkeypatch.setattr("raypeft.evaluation.given.load_base", loads)
    Path("file").write_text("in the way")
    asked = {
        "export": ("export", str(run.folder), LORA.id, "file/made/out"),
        "evaluate": ("evaluate", "--model", "tiny-decoder", "--dataset", "snippets", "--out", "file/made/out"),
    }
    ended = call(*asked[verb])
    assert ended.code == 2 and "file/made/out: cannot be written: Not a directory" in ended.err
    assert "Traceback" not in ended.err and [path.name for path in Path().iterdir()] == ["file"]


def test_what_was_evaluated_is_kept_where_it_cannot_be_written_any_more(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it computes, a file takes the place of the folder that the predictions were to lie in."""
    result = {
        **{"model": "m", "adapter": None, "dataset": "snippets", "metrics": block(1.0, 2.0, 3.0, 4.0), "seconds": 1.0},
        **{"precision": "float32", "beams": 10, "candidates": 10},
    }

    def evaluated(*arguments: object) -> tuple[dict[str, object], list[Prediction]]:
        Path("place").rmdir()
        Path("place").write_text("in the way")
        return dict(result), [Prediction(id="1", reference="", candidates=["x"])]

    monkeypatch.setattr("raypeft.evaluation.given.evaluate_given", evaluated)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    ended = call("evaluate", "--model", "tiny-decoder", "--dataset", "snippets", "--out", "place/out.jsonl")
    assert ended.code == 2 and ended.out.startswith("Model      m (float32)")
    (kept,) = (tmp_path / "tmp").glob("raypeft-evaluate-*")
    assert ended.err.splitlines()[-1].endswith(
        f"--out place/out.jsonl: cannot be written any more: File exists; all is in {kept}"
    )
    assert json.loads((kept / "predictions.jsonl").read_text()) == {"id": "1", "reference": "", "candidates": ["x"]}
    assert json.loads((kept / "predictions.metrics.json").read_text()) == {**result, "split": "test"}
