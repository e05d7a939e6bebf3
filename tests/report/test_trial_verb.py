"""The verb trial, and how trials and cells are named on the command line."""

import json

import pytest
import typer
from typer.testing import CliRunner

from raypeft.cli.arguments import find_cell, find_trial
from raypeft.cli.runs import sparkline, trial
from raypeft.errors import UserError
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell

LORA = Cell("tiny-decoder", "snippets", "lora")
OTHER_LORA = Cell("tiny-encoder-decoder", "snippets", "lora")

app = typer.Typer()
app.command()(trial)


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_selected_trial_in_full(partial: Run) -> None:
    output = invoke(str(partial.folder), "tiny-decoder·lora·snippets·002")
    lines = output.splitlines()
    assert lines[0] == (
        "Trial        tiny-decoder·lora·snippets·002 (selected for its cell with the checkpoint of report 3)"
    )
    assert "Parameters   r = 64, lora_alpha = 128, lora_dropout = 0.1, learning_rate = 0.002" in lines
    assert "Loss         █▄▂▁▁▂▃ 2.000 to 1.100, best 0.750 at report 3" in lines
    assert "Trainable    12,288 weights of 1,012,288 (1.21 %)" in lines
    assert "Memory       512 MiB at its peak" in lines
    assert ["3", "0.60", "48", "0.750", "45.0", "4.5", "–", "512"] in [line.split() for line in lines]
    assert "Test item test-001: intent 1 & more" in lines
    assert "  reference (candidate 1 matches it)" in lines
    assert "\x1b" not in output and "\x00" not in output and "\u202e" not in output


def test_a_trial_that_was_not_selected_has_no_samples(partial: Run) -> None:
    output = invoke(str(partial.folder), "tiny-decoder/lora/1")
    assert "State        stopped: stopped by ASHA at report 5: 1.75 is not among the best 1/3" in output
    assert "Test item" not in output


def test_a_failed_trial_shows_its_error(partial: Run) -> None:
    output = invoke(str(partial.folder), "tiny-encoder-decoder/lora/0")
    assert "torch.OutOfMemoryError: tried 2 GiB" in output


def test_as_json(partial: Run) -> None:
    content = json.loads(invoke(str(partial.folder), "tiny-decoder/lora/2", "--json"))
    assert content["cell"] == "tiny-decoder/snippets/lora"
    assert [row["validation_loss"] for row in content["curve"]] == [2.0, 1.2, 0.9, 0.75, 0.8, 0.9, 1.1]
    assert content["hyperparameters"]["r"] == 64 and content["selected"] == 3
    assert content["files"] == {"checkpoints": {}}
    assert [sample["id"] for sample in content["samples"]] == ["test-000", "test-001", "test-002"]


def test_a_trial_that_has_not_begun(partial: Run) -> None:
    result = CliRunner().invoke(app, [str(partial.folder), "tiny-encoder-decoder/ia3/0"])
    assert isinstance(result.exception, UserError) and "has not begun" in str(result.exception)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tiny-decoder·lora·snippets·002", (LORA, 2)),
        ("tiny-decoder/snippets/lora/2", (LORA, 2)),
        ("lora/tiny-encoder-decoder/0", (OTHER_LORA, 0)),
    ],
)
def test_names_of_trials(partial: Run, text: str, expected: tuple[Cell, int]) -> None:
    assert find_trial(partial, text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lora/1", "'lora' could be any of the cells\n  tiny-decoder/snippets/lora\n  tiny-encoder-decoder"),
        ("dora/1", "'dora' is none of the cells"),
        ("1", "could be any of"),
        ("tiny-decoder/lora", "names no trial"),
        ("tiny-decoder/lora/3", "has the trials 0 to 2, not 3"),
    ],
)
def test_unclear_names_of_trials(partial: Run, text: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        find_trial(partial, text)
    assert message in str(raised.value)


def test_a_cell_is_found_by_what_tells_it_apart(partial: Run) -> None:
    assert find_cell(partial, "tiny-decoder/lora") == LORA
    assert find_cell(partial, "tiny-encoder-decoder/snippets/lora/") == OTHER_LORA


def test_sparkline_spans_the_values() -> None:
    assert sparkline([0.0, 7.0, 3.5, 1.0]) == "▁█▅▂"
    assert sparkline([2.0, 2.0]) == "▁▁"
