"""The verbs generate, export and evaluate, on weights that have been selected."""

import io
import json
from pathlib import Path

import pytest

from raypeft.evaluation.generate import generate
from raypeft.run import Run
from raypeft.spec.plan import Cell
from tests.cli.conftest import Call, call

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
    assert [row["candidates"] for row in rows] == [row["candidates"][:2] for row in expected]
    assert rows[0]["prompt"] == "### Instruction:\nreverse a list\n### Response:\n"
    shown = call("generate", str(run.folder), "tiny-decoder/lora", "reverse a list").out.splitlines()
    assert shown[0] == "reverse a list" and len(shown) == 5
    assert expected[0]["candidates"][0] in shown[1]


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
    assert [row["candidates"] for row in rows] == [row["candidates"] for row in expected]
    result = json.loads(ended.out)
    assert result["metrics"]["items"] == 3 and result["beams"] == 3 and result["adapter"] == "adapter"
    assert json.loads(Path("out.metrics.json").read_text(encoding="utf-8")) == result
    again = call(*evaluate, "--adapter", "adapter", "--out", "out.jsonl")
    assert again.code == 2 and "out.jsonl: exists already" in again.err


def test_an_adapter_of_another_architecture_is_refused(call: Call, run: Run) -> None:
    call("export", str(run.folder), LORA.id, "adapter")
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
