"""Code that a model brings along runs by consent given here, never by a run folder alone."""

from pathlib import Path

import pytest

from raypeft.errors import UserError
from raypeft.evaluation.generate import generate
from raypeft.export.export import export
from raypeft.output.files import write_text
from raypeft.runs.folder import Run
from raypeft.spec.catalogue import PACKAGE
from raypeft.spec.plan import Cell
from raypeft.spec.resolve import resolve
from tests.conftest import Call, call

__all__ = ["call"]

CELL = Cell("own", "snippets", "lora")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run, as another has copied it, whose study lets the model's code run."""
    folder = PACKAGE / "embedded" / "models" / "tiny-decoder"
    entry = f"title: Own, folder: '{folder}', trust_remote_code: true, targets: {{attention: [q_proj]}}"
    settings = ["models=[own]", "techniques=[lora]", f"catalogue.models.own={{{entry}}}"]
    run = Run(tmp_path / "copied")
    write_text(run.study_file, resolve("quickstart", settings=settings).dump())
    return run


@pytest.mark.parametrize("verb", [["generate", "copied", "lora", "sort a list"], ["export", "copied", "lora", "out"]])
def test_a_run_folder_does_not_consent(call: Call, run: Run, verb: list[str]) -> None:
    ended = call(*verb)
    assert ended.code == 2 and not Path("out").exists()
    assert "copied: the run's study lets code run that the model own brings along" in ended.err
    assert ended.err.endswith("Read that code; --trust-remote-code lets it run here.\n")
    consented = call(*verb, "--trust-remote-code")
    assert consented.code == 2 and "trust_remote_code" not in consented.err  # there are no selected weights


def test_neither_do_the_functions(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--trust-remote-code lets it run here"):
        generate(run, CELL, ["sort a list"])
    with pytest.raises(UserError, match="--trust-remote-code lets it run here"):
        export(run, CELL, tmp_path / "out")
