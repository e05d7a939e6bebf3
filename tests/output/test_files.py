"""Durable files: what a reader sees when a writer dies."""

import os
from pathlib import Path
from typing import Any

import pytest

from raypeft.output.files import append_line, read_json, read_lines, write_bytes, write_json, write_lines, write_text


def test_json_is_written_readable_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "a.json"
    write_json(file, {"ä": [1, None]})
    assert file.read_text(encoding="utf-8") == '{\n  "ä": [\n    1,\n    null\n  ]\n}\n'
    assert read_json(file) == {"ä": [1, None]}
    assert read_json(tmp_path / "absent.json") is None


@pytest.mark.parametrize("fault", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "interrupt"])
@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_the_old_content_stays_when_the_writer_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, step: str
) -> None:
    file = tmp_path / "a.json"
    write_json(file, "old")

    def die(*arguments: Any) -> None:
        raise fault

    monkeypatch.setattr(*((Path, "replace") if step == "replace" else (os, "fsync")), die)
    with pytest.raises(type(fault)):
        write_json(file, "new")
    assert read_json(file) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_reader_never_sees_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")
    seen: list[str] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.extend([self.read_text(), file.read_text()])
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    write_text(file, "new")
    assert [*seen, file.read_text()] == ["new", "old", "new"]


def test_bytes_and_texts_are_written_as_they_are(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"\x00\xff\r\n")
    write_text(tmp_path / "b", "ä\r\n")
    assert (tmp_path / "a").read_bytes() == b"\x00\xff\r\n"
    assert (tmp_path / "b").read_bytes() == "ä\r\n".encode()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_json_does_not_know_is_refused_and_nothing_is_written(tmp_path: Path, number: float) -> None:
    file = tmp_path / "a.jsonl"
    append_line(file, {"loss": 1.0})
    for write in (append_line, write_json):
        with pytest.raises(ValueError):
            write(file, {"loss": number})
    with pytest.raises(ValueError):
        write_lines(file, [{"loss": 2.0}, {"loss": number}])
    assert file.read_bytes() == b'{"loss": 1.0}\n'


def test_lines_are_appended_in_order(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.jsonl"
    rows = [{"text": "a\nb\u2028c\r", "n": 1}, {"text": "ä"}, {}]
    for row in rows:
        append_line(file, row)
    assert list(read_lines(file)) == rows
    assert file.read_bytes().count(b"\n") == 3
    write_lines(file, rows[:1])
    assert list(read_lines(file)) == rows[:1]


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    assert list(read_lines(tmp_path / "absent.jsonl")) == []


@pytest.mark.parametrize("kept", range(1, 15))
def test_a_torn_last_line_is_passed_over_and_closed_off(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "a.jsonl"
    append_line(file, {"n": 1})
    line = '{"text": "ä"}\n'.encode()
    assert len(line) == 15
    with file.open("ab") as stream:
        stream.write(line[:kept])
    torn = [{"text": "ä"}] if kept == 14 else []  # only the end of the line is missing
    assert list(read_lines(file)) == [{"n": 1}, *torn]
    append_line(file, {"n": 2})
    append_line(file, {"n": 3})
    assert list(read_lines(file)) == [{"n": 1}, *torn, {"n": 2}, {"n": 3}]
