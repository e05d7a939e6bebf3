"""Data files of every format: with odd values, damaged bytes, or none that can be read at all."""

import copy
import csv
import gzip
import io
import json
import os
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.parquet_files import parquet

SUFFIXES = ("jsonl", "ndjson", "json", "csv", "tsv", "parquet")
Rows = list[Any]
Lay = Callable[[Path], None]

TEXTS = [
    *(
        "",
        " ",
        "\n",
        "\t",
        "a\r\nb",
        "\x00",
        "\x1b[31mred",
        "\x7f",
        "\u202eevil",
        "\ufeff",
        "\u2028",
        "\x85",
        "é",
        "日本",
    ),
    *("\ud800", "a\udcffb", "\udc80", "'", '"', '""', ",", "x" * 200_000, "{}", "[bold]red[/]", "=1+1", "NaN", "null"),
    *(
        "\U0001f600",
        "%s",
        "None",
        "x = 1",
        "def f(:",
        "(" * 3000,
        "-" * 20_000 + "1",
        "not " * 9000 + "x",
        "1+" * 9000 + "1",
    ),
]
VALUES = [
    *(None, True, False, 0, 1, -1, 2**63, 2**64, 10**400, 1.5, -0.0, float("nan"), float("inf"), [], {}, [[]], [None]),
    *({"a": 1}, ["a", 1], {"nl": "a"}, [[[[[]]]]], {"": {"": {}}}),
]
RAW = [
    *("9" * 5000, "-" + "9" * 5000, "1e999", "-1e-999", "NaN", "Infinity", "[" * 200_000 + "]" * 200_000, "nul", "'a'"),
    *('{"a":' * 100_000 + "1" + "}" * 100_000, '"\\ud83d"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\x"', "01", "+1", ".5"),
    *('{"a": 1, "a": 2}', "[1,]", "{,}", "// c", '"a', "\ufeff1", "undefined", "[" * 500, "0" * 5000),
]
PIECES = [
    *(
        b"",
        b"\0",
        b"\0" * 4096,
        b"\xff",
        b"\xfe\xff",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\r",
        b"\n",
    ),
    *(
        b"\r\n",
        b"\n\n\n",
        b"\xf4\x90\x80\x80",
        b"\xc0\x80",
        b'"',
        b'""',
        b",",
        b"\t",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\\",
        b"\x1a",
    ),
    *(b"PAR1", b"\x1f\x8b", b"\x80", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x80", b"nl", b"cmd", b"null", b"\x1b[2J"),
]


def rows(random: Random) -> Rows:
    """Some that are right."""
    many = random.choice([0, 1, 2, 8, 8, 40])
    return [{"id": str(number), "nl": f"do {number}", "cmd": f"f({number})"} for number in range(many)]


def change(found: Rows, random: Random) -> None:
    """Change a value, a column or a row, or add one."""
    value = copy.deepcopy(random.choice(random.choice([TEXTS, VALUES])))
    if not found or random.random() < 0.15:
        found.insert(random.randrange(len(found) + 1), value)
        return
    row = random.choice(found)
    column = random.choice(["nl", "cmd", "id", "nl", "cmd", "id", "other", random.choice(TEXTS)])
    if not isinstance(row, dict):
        return
    kind = random.randrange(6)
    if kind == 0:
        row.pop(column, None)
    elif kind == 1:
        row[random.choice(TEXTS)] = row.pop(column, None)
    elif kind == 2:
        found.append(dict(row))
    elif kind == 3:
        for each in found:
            if isinstance(each, dict):
                each[column] = value
    else:
        row[column] = value


def content(found: Rows, suffix: str, random: Random) -> bytes:
    """Rows in a format, texts with any line end and encoding, JSON with pieces that are not JSON."""
    if suffix == "parquet":
        return parquet(found, random)
    if suffix in ("csv", "tsv"):
        text = _csv(found, "," if suffix == "csv" else "\t")
    elif suffix == "json" and random.random() < 0.8:
        text = json.dumps(found, indent=random.choice([None, 1]), ensure_ascii=random.random() < 0.5)
    else:
        text = "".join(json.dumps(row, ensure_ascii=random.random() < 0.5) + "\n" for row in found)
    if suffix not in ("csv", "tsv") and random.random() < 0.3:
        text = text.replace(random.choice(['"do 1"', '"f(0)"', '"0"', '"id"', "{"]), random.choice(RAW), 1)
    if random.random() < 0.2:
        text = text.replace("\n", random.choice(["\r", "\r\n", "\n\n", "", "\n\ufeff", "\x85", "\u2028", "\n\0"]))
    if random.random() < 0.1:
        text = "\ufeff" + text
    encoding = random.choice(["utf-8"] * 12 + ["utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-7"])
    try:
        return text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")
    except UnicodeError:
        return text.encode("utf-8", "surrogatepass")


def _csv(found: Rows, delimiter: str) -> str:
    names = list(dict.fromkeys(name for row in found if isinstance(row, dict) for name in row)) or ["nl", "cmd"]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n", escapechar="\\")
    writer.writerow(names)
    for row in found:
        writer.writerow([row.get(name) for name in names] if isinstance(row, dict) else [row, row, row, row])
    return stream.getvalue()


def damaged(found: bytes, random: Random) -> bytes:
    """A content with a piece cut, doubled, moved, changed or put in."""
    for _ in range(random.choice([1, 1, 1, 2, 5])):
        at = random.choice([0, len(found), *(random.randrange(len(found) + 1) for _ in range(6))])
        to = min(len(found), at + random.choice([1, 1, 2, 4, 20, 200]))
        piece = random.choice([*PIECES, random.randbytes(random.choice([1, 1, 4, 50]))])
        found = random.choice(
            [
                found[:at] + found[to:],
                found[:at] + piece + found[at:],
                found[:at] + piece + found[to:],
                found[:at] + found[at:to] * random.choice([2, 100]) + found[to:],
                found[:at],
                found[at:],
            ]
        )
    return found


@cache
def _packed(piece: bytes, size: int) -> bytes:
    sink = io.BytesIO()
    with gzip.GzipFile(fileobj=sink, mode="wb", compresslevel=1, mtime=0) as stream:
        for _ in range(size // len(piece)):
            stream.write(piece)
    return sink.getvalue()


def bomb(random: Random) -> bytes:
    """A small compressed file that holds a great deal."""
    piece = random.choice([b"\0", b"\n", b"[", b"[],", b"{}\n", b'"', b",", b'{"nl":"a","cmd":"b"}\n', b"a,"])
    return _packed(piece * 10_000, random.choice([2**22, 2**27, 2**30]))


def something_else(random: Random) -> Lay:
    """Lays what is not a file at a path."""

    def pipe(path: Path) -> None:
        os.mkfifo(path)

    def listening(path: Path) -> None:
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket has few characters
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(here)

    def link(to: str) -> Lay:
        return lambda path: path.symlink_to(to)

    links = ["/dev/zero", "/dev/null", "/dev/random", "nowhere", ".", "/", "/proc/self/mem", "/proc/self/environ"]
    return random.choice([pipe, listening, Path.mkdir, *(link(to) for to in links), lambda path: link(path.name)(path)])
