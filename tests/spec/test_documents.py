"""YAML as studies use it."""

from pathlib import Path

import pytest

from raypeft.errors import UserError
from raypeft.spec.documents import dump_yaml, parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-4", 0.0003), ("1E3", 1000.0), ("-2e+1", -20.0), ("1.e2", 100.0), ("3.0e-4", 0.0003), ("5", 5), ("0.5", 0.5)],
)
def test_numbers_need_no_point(text: str, value: float) -> None:
    parsed = parse_yaml(text)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize("text", ["1e3", "5", "null", "0.1", "e5", "1e", "yes", "${HOME}", "ä\nß", "a: b", "1.e2"])
def test_texts_read_back_as_texts(text: str) -> None:
    assert parse_yaml(dump_yaml({"key": text})) == {"key": text}


def test_keys_keep_their_order() -> None:
    assert dump_yaml({"b": 1, "a": [1e-5, True]}) == "b: 1\na:\n- 1.0e-05\n- true\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: [1\nc: 2\n", "is not valid YAML: line 3, column 2: expected ',' or ']', but got ':'"),
        (b"a: 1\nb: 2\na: 3\n", "is not valid YAML: line 3, column 1: key 'a' stands twice"),
        (b"a: {b: 1, b: 2}\n", "is not valid YAML: line 1, column 11: key 'b' stands twice"),
        (b"a: \xff\n", "is not UTF-8: "),
        (b"- a\n- b\n", "must hold a mapping of keys to values"),
        (b"", "must hold a mapping of keys to values"),
        (
            b"a: !!python/object:os.system {}\n",
            "is not valid YAML: line 1, column 4: could not determine a constructor",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_yaml(file)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file or directory"):
        read_yaml(tmp_path / "absent.yaml")


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert read_yaml(file) == {"a": 1}
