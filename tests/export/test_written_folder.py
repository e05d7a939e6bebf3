"""What export writes is compared with the test in a process of its own, and is not written where it differs."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.recording import block
from raypeft.errors import UserError
from raypeft.evaluation.generate import generate
from raypeft.export.check import Answer, differences, distance
from raypeft.export.export import export
from raypeft.modeling.loading import discard_warm
from raypeft.output.files import write_json, write_lines, write_text
from raypeft.runs.folder import Run
from raypeft.runs.records import Prediction
from raypeft.spec.loading import PACKAGE
from raypeft.spec.plan import Cell
from raypeft.spec.resolve import resolve
from tests.export.conftest import select

INTENTS = ("reverse a list", "sort a list of numbers", "read a file", "sum a list", "open a socket")


def wanted(*scores: float) -> Prediction:
    return Prediction(id=0, intent="i", reference="", candidates=["a", "b", "c"], scores=list(scores))


WANT = wanted(-0.1, -0.2, -0.3)


@pytest.mark.parametrize(
    ("texts", "scores", "same"),
    [
        ("abc", (-0.1, -0.2, -0.3), True),
        ("abc", (-0.1004, -0.2, -0.3), True),
        ("abc", (-0.107, -0.2, -0.3), False),
        ("abd", (-0.1, -0.2, -0.2999), True),  # another candidate as near as the last
        ("adc", (-0.1, -0.2, -0.3), False),
        ("xbc", (-0.1, -0.2, -0.3), False),
    ],
)
def test_what_counts_as_the_same_candidates(texts: str, scores: Any, same: bool) -> None:
    have = Answer([f"{text};more" for text in texts], list(scores))
    assert (differences([WANT], [have], [";"]) is None) == same


def test_near_candidates_may_change_places() -> None:
    answer = Answer(["b", "a", "c"], [-0.1, -0.1001, -0.3])
    assert differences([wanted(-0.1, -0.1001, -0.3)], [answer], ()) is None


@pytest.mark.parametrize(("moved", "same"), [((0.004, 0.31, 0.002), True), ((0.07, 0.06, 0.002), False)])
def test_in_coarse_numbers_single_items_may_take_other_turns(moved: tuple[float, ...], same: bool) -> None:
    """As 8-bit weights do, whose products depend on what they are computed beside."""
    found = [Answer(["x"], [-0.1 - by]) for by in moved]
    assert (distance([WANT] * 3, found) is None) == same


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Techniques that were exported wrong: on an output layer that is also the embedding, drawn anew at each load."""
    home = tmp_path_factory.mktemp("check")
    rate = "paper: {learning_rate: 3.0e-3}\nsearch: {learning_rate: {log_uniform: [3.0e-5, 3.0e-2]}}\n"
    for name, arguments in (
        ("head", "{target_modules: [q_proj, lm_head], r: 8}"),
        ("drawn", "{target_modules: [q_proj, v_proj], r: 8, lora_alpha: 24, init_lora_weights: pissa_niter_2}"),
    ):
        write_text(home / f"{name}.yaml", f"title: {name}\npeft: LoraConfig\narguments: {arguments}\n{rate}")
    resolved = resolve(
        "quickstart",
        models=["tiny-decoder"],
        settings=[
            f"techniques=[{home}/head.yaml, {home}/drawn.yaml, qlora_4bit]",
            "catalogue.datasets.snippets={title: S, folder: 'embedded:snippets', max_code_tokens: 8}",
            "test={beams: 3, candidates: 3}",
            "icl=null",
        ],
    )
    run = Run(home / "run")
    write_text(run.study_file, resolved.dump())
    for cell in run.plan.cells:
        select(run, cell)
        discard_warm()  # a base as it was
        rows = generate(run, cell, INTENTS)
        write_lines(run.predictions_file(cell), (row.content() for row in rows))
        test = {"cell": cell.id, "trial": "", "metrics": block(1.0, 2.0, 3.0, 4.0), "precision": "fp32", "seconds": 1.0}
        write_json(run.test_file(cell), test)
    return run


@pytest.mark.parametrize(("technique", "merge"), [("head", True), ("drawn", False), ("qlora_4bit", True)])
def test_the_folder_gives_the_tests_candidates(run: Run, technique: str, merge: bool, tmp_path: Path) -> None:
    export(run, Cell("tiny-decoder", "snippets", technique), tmp_path / "out", merge=merge)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for file in (tmp_path / "out").iterdir():
        for place in (tmp_path, run.folder, PACKAGE):
            assert str(place).encode() not in file.read_bytes(), f"{file.name} names a folder of this machine"
    if merge:
        config = json.loads((tmp_path / "out" / "config.json").read_text())
        assert config["tie_word_embeddings"] is (technique != "head")
        assert "quantization_config" not in config
    else:
        config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
        assert (config["init_lora_weights"], config["base_model_name_or_path"]) == (True, "tiny-decoder")
        text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
        assert "AutoModelForCausalLM.from_pretrained('tiny-decoder', dtype=torch.float32)" in text
        assert "put its hub id or folder in place of tiny-decoder" in text


def test_what_gives_other_candidates_is_not_written(run: Run, tmp_path: Path) -> None:
    cell = Cell("tiny-decoder", "snippets", "drawn")
    before = run.predictions_file(cell).read_text()
    rows = [json.loads(line) for line in before.splitlines()]
    rows[2]["scores"] = [score - 0.007 for score in rows[2]["scores"]]
    write_lines(run.predictions_file(cell), rows)
    try:
        with pytest.raises(UserError) as caught:
            export(run, cell, tmp_path / "made" / "out")
    finally:
        write_text(run.predictions_file(cell), before)
    assert str(caught.value).startswith(
        f"{cell.id}: is not written: loaded in a process of its own it does not give the candidates of the test. "
        "For 'read a file' candidate 1 is "
    )
    assert list(tmp_path.iterdir()) == []
