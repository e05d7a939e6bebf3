"""YAML as studies use it."""

import os
from pathlib import Path

import pytest

from raypeft.errors import UserError
from raypeft.spec.loading import dump_yaml, parse_yaml, read_yaml


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


def test_what_is_no_file_is_said_at_once(tmp_path: Path) -> None:
    """A pipe would be waited for without end."""
    os.mkfifo(tmp_path / "study.yaml")
    with pytest.raises(UserError, match="cannot be read: is no regular file"):
        read_yaml(tmp_path / "study.yaml")


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert read_yaml(file) == {"a": 1}


def said_of(text: str) -> str:
    with pytest.raises(ValueError) as caught:
        parse_yaml(text)
    return str(caught.value)


@pytest.mark.parametrize("text", ["010", "1:30", "-1:30:00", "1_000", "0x10", "0o17", "0b11", "08", "+0_1"])
def test_numbers_that_are_read_in_different_ways_are_refused(text: str) -> None:
    assert said_of(f"a: {text}").startswith(f"line 1, column 4: '{text}' is read in different ways: quote it")
    assert parse_yaml(f"a: '{text}'") == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e5", 1e5),
        ("2.5E-3", 0.0025),
        ("0.10", 0.1),
    ],
)
def test_decimal_numbers(text: str, value: float) -> None:
    found = parse_yaml(text)
    assert found == value and type(found) is type(value)


def test_dates_and_equals_signs_are_texts() -> None:
    assert parse_yaml("[2001-01-01, 9999-99-99, =, 1.2.3]") == ["2001-01-01", "9999-99-99", "=", "1.2.3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{[a]: 1}", "line 1, column 2: a key must be a text, but is a list or mapping: quote it"),
        ("{1: 2}", "line 1, column 2: a key must be a text, but is '1': quote it"),
        ("{null: 1}", "line 1, column 2: a key must be a text, but is 'null': quote it"),
        ("? {a: b}\n: c", "line 1, column 3: a key must be a text"),
        ("&a [*a]", "line 1, column 5: '*a' stands within itself"),
        ("!!int x", "line 1, column 1: could not determine a constructor: tags such as '!!int' are not read"),
        ("!!timestamp x", "line 1, column 1: could not determine a constructor: tags such as '!!timestamp' are not"),
        ("a: !mine {b: c}", "line 1, column 4: could not determine a constructor: tags such as '!mine' are not read"),
        ("[" * 100_000, "line 1, column 41: is nested more than 40 deep"),
        ("{a: " * 2_000, "line 1, column 158: is nested more than 40 deep"),
        ("9" * 5_000, "line 1, column 1: a number of 5000 digits"),
        (r'"\N"', "line 1, column 1: a text has NEL or half of a surrogate pair, which cannot be saved"),
        (r'"\uD800"', "line 1, column 1: a text has NEL"),
        ("[" + "1," * 60_000 + "]", "line 1, column 100002: holds more than 50000 values"),
    ],
    ids=lambda text: text[:20],
)
def test_what_no_specification_holds_is_refused_with_its_place(text: str, message: str) -> None:
    assert said_of(text).startswith(message)


def test_aliases_that_multiply_are_refused_at_once() -> None:
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    assert "holds more than 50000 values" in said_of("\n".join(lines))
    assert parse_yaml("a: &a [1, 2]\nb: *a") == {"a": [1, 2], "b": [1, 2]}
    assert parse_yaml("a: &a {b: 1, c: 2}\nd: {<<: *a, c: 3}")["d"] == {"b": 1, "c": 3}


@pytest.mark.parametrize(
    "text", ["010", "1:30", "1_000", "0x10", ".5e3", "+.5", "1.5e3", "2001-01-01", "=", "yes", "<<"]
)
def test_texts_that_look_like_other_things_read_back(text: str) -> None:
    assert parse_yaml(dump_yaml({"a": text})) == {"a": text}


def test_a_file_of_a_size_that_no_specification_has(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("#" * 600_000)
    with pytest.raises(UserError, match="is larger than 512 KiB"):
        read_yaml(file)
