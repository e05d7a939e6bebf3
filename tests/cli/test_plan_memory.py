"""Memory in what `--plan` prints."""

import pytest
from typer.testing import CliRunner

from raypeft.cli import app

ARGUMENTS = [
    "study",
    "quickstart",
    "--plan",
    "--set",
    "models=[codellama-7b-python]",
    "--set",
    "techniques=[lora, qlora_4bit]",
]


def planned(*settings: str) -> list[str]:
    sets = [part for setting in settings for part in ("--set", setting)]
    result = CliRunner().invoke(app, [*ARGUMENTS, *sets])
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def row(lines: list[str], technique: str) -> str:
    return next(line for line in lines if f" {technique} " in line)


def test_a_limit_says_what_fits() -> None:
    lines = planned("resources.gpu_memory_gb=12", "mode=paper")
    assert "fits 12 GiB" in lines[2]
    assert " NO " in row(lines, "lora")
    assert any("NO: not even one item at a time, so 1 of 2 cells" in line for line in lines)
    assert " yes " in row(planned("resources.gpu_memory_gb=80", "mode=paper"), "lora")


def test_without_a_limit_peaks_stand_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    lines = planned("mode=paper")
    assert "train GiB" in lines[2] and "decode GiB" in lines[2] and "fits" not in lines[2]
    assert any(line.startswith("Memory     estimated for a CPU") for line in lines)


def test_a_model_of_which_nothing_is_known_is_said_to_be_unknown() -> None:
    lines = planned("models=[someone/model]", "resources.gpu_memory_gb=24")
    assert "?" in row(lines, "lora") and " yes " not in row(lines, "lora")
    assert any("neither shape nor number of weights" in line for line in lines)
