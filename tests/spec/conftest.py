"""A working directory with studies of the test's own."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

WriteStudy = Callable[[str], str]


@pytest.fixture
def write_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteStudy:
    """Function (YAML) -> name: writes `./studies/own.yaml`."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        (tmp_path / "studies").mkdir(exist_ok=True)
        (tmp_path / "studies" / "own.yaml").write_text(dedent(text), encoding="utf-8")
        return "own"

    return write
