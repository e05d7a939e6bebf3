"""Reading and writing the files of a run folder: only what is a whole record of its kind, and its owner's, gets in."""

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter, ValidationError

from raypeft.errors import UserError
from raypeft.output.files import append_bytes, is_object, open_regular, write_bytes
from raypeft.runs import records
from raypeft.runs.records import FORMAT

LARGEST = 2**28
"""Bytes of a file that is read at once; none of a run comes near."""
_HALF = re.compile("[\ud800-\udfff]")
_ESCAPED_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


class Damaged(ValueError):
    """Content that is not the record it should be: not JSON, of another shape, out of bounds, or somebody else's."""


@dataclass(frozen=True)
class Kind:
    """A kind of record.

    Attributes:
        name: what one is, in words.
        adapter: checks one.
        sure: keys that every record with a version has; kinds without any carry none.
        blank: whether those of them that an older record lacks are none in it.
    """

    name: str
    adapter: TypeAdapter[Any]
    sure: frozenset[str] = frozenset()
    blank: bool = True

    def parse(self, content: bytes) -> dict[str, Any]:
        """The record that a file or line holds.

        Raises:
            Damaged: it holds none.
            UserError: it is of a later version of raypeft.
        """
        try:
            row: dict[str, Any] = self.adapter.validate_json(content)
        except ValidationError as error:
            mended = _with_whole_characters(content)
            if mended is None:
                raise Damaged(_first(error, self.name)) from None
            return self.parse(mended)
        if not self.sure <= row.keys():
            missing = sorted(self.sure - row.keys())
            if "format" in row:
                raise Damaged(f"{', '.join(missing)}: missing")
            if self.blank:
                row.update(dict.fromkeys(missing))
        return row

    @property
    def version(self) -> dict[str, int]:
        """The version of its format, as a record is written now."""
        return {"format": FORMAT} if self.sure else {}


def _kind(name: str, model: Any, sure: Sequence[str] = (), *, blank: bool = True) -> Kind:
    return Kind(name, TypeAdapter(model), frozenset(sure), blank)


_END = ("state", "reason", "hyperparameters", "reports", "best_report", "best_loss", "best_em@10", "time")
REPORT = _kind("report", records.Report, ["em@10", "em@10_computed", "time"])
TRIAL = _kind("end of a trial", records.TrialEnd, _END)
SELECTION = _kind("selection", records.Selection, ["cell", "trials"])
_TESTED = ("seconds", "predictions_sha256")
TEST = _kind("test result", records.TestResult, ["cell", "dataset", "trial", *_TESTED], blank=False)
ICL = _kind("in-context-learning result", records.IclResult, _TESTED, blank=False)
PREDICTION = _kind("prediction", records.Prediction)
FAILURE = _kind("failure", records.Failure)
EVENT = _kind("event", records.Event)
MANIFEST = _kind(
    "manifest",
    records.Manifest,
    ["study", "versions", "gpus", "datasets", "models", "revisions"],
    blank=False,
)
DASHBOARD = _kind("dashboard", records.Dashboard)
TAKEN = _kind("cell taken over", records.Taken, ["origin"])


def whole_characters(text: str) -> str:
    """A text in which half characters, which have no bytes and no place in JSON, are replaced."""
    return _HALF.sub("\ufffd", text)


def _with_whole_characters(content: bytes) -> bytes | None:
    """JSON without the half characters that it has; none where it has none, or is not JSON."""
    if _ESCAPED_HALF.search(content) is None:
        return None
    try:
        text = json.dumps(json.loads(content), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    mended = whole_characters(text)
    return mended.encode() if mended != text else None


def _first(error: ValidationError, name: str) -> str:
    """The first thing that is wrong, in a few words."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"]))[:80]
    if place == "format" and fault["type"] == "less_than_equal":
        raise UserError(f"a {name} was written by a later version of raypeft", hint="Update raypeft.") from None
    return f"{place}: {fault['msg']}" if place else fault["msg"]


class Unreadable(Exception):
    """What lies in place of a file is none, or cannot be read; its content may be whole."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a file of a run folder.

    Attributes:
        what: is wrong, in words.
        mendable: whether the content is damaged, so that `raypeft study` drops it or makes it again; else something
            lies in the file's place that is not raypeft's to remove.
    """

    what: str
    mendable: bool


@dataclass(frozen=True)
class Reading:
    """Reads the files of one run folder; what is damaged counts as missing, and is kept in mind.

    Attributes:
        faults: of what was read so far, by file.
    """

    faults: dict[Path, Fault] = field(default_factory=dict)

    def record(self, path: Path, kind: Kind, whose: Callable[[dict[str, Any]], str | None]) -> dict[str, Any] | None:
        """The record that a file holds; none where there is no file or a faulty one.

        Args:
            path: the file.
            kind: what it should hold.
            whose: says what is wrong with a record that belongs elsewhere.

        Raises:
            UserError: it was written by a later version of raypeft.
        """
        with _Watched(self, path) as watched:
            content = content_of(path)
            if content is None:
                return None
            row = kind.parse(content)
            if stranger := whose(row):
                raise Damaged(stranger)
            watched.row = row
        return watched.row

    def rows(self, path: Path, parse: Callable[[bytes], dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows of a file of lines without the damaged ones; a torn last line, which may just be written, is none.

        Raises:
            UserError: as `record`.
        """
        bad: list[tuple[int, str]] = []
        with _Watched(self, path):
            for number, line in enumerate(_lines(path), start=1):
                try:
                    row = parse(line)
                except Damaged as error:
                    if line.strip() and (line.endswith(b"\n") or is_object(line)):
                        bad.append((number, str(error)))
                    continue
                yield row
            if bad:
                lines = "1 damaged line" if len(bad) == 1 else f"{len(bad)} damaged lines, the first of them"
                raise Damaged(f"{lines} (line {bad[0][0]}: {bad[0][1]})")

    def predictions(self, path: Path, digest: str | None) -> list[dict[str, Any]]:
        """The rows of a file of predictions; none where there is no file or a damaged one.

        Args:
            path: the file.
            digest: SHA-256 of the file that its result was computed from, where the result says so.

        Raises:
            UserError: as `record`.
        """
        rows: list[dict[str, Any]] = []
        with _Watched(self, path):
            content = content_of(path)
            if content is None:
                if digest is not None:
                    raise Damaged("is missing")
                return []
            if digest is not None and sha256(content) != digest:
                raise Damaged("is not the file that its result was computed from")
            rows = [PREDICTION.parse(line) for line in content.split(b"\n") if line]
        return rows


class _Watched:
    """Turns what goes wrong in its block into a fault of a file; `row` is what the block has read."""

    def __init__(self, reading: Reading, path: Path) -> None:
        self.reading = reading
        self.path = path
        self.row: dict[str, Any] | None = None

    def __enter__(self) -> "_Watched":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, UserError) and error.where is None:
            raise UserError(error.what, where=str(self.path), hint=error.hint) from None
        if isinstance(error, Damaged | Unreadable):
            self.reading.faults[self.path] = Fault(str(error), isinstance(error, Damaged))
            return True
        return False


def content_of(path: Path) -> bytes | None:
    """All that a file holds; none where there is no file.

    Raises:
        Unreadable: no regular file lies there, or it cannot be read.
        Damaged: it is larger than any record.
    """
    stream = _opened(path)
    if stream is None:
        return None
    with stream:
        if os.fstat(stream.fileno()).st_size > LARGEST:
            raise Damaged(f"has more than {LARGEST:,} bytes")
        try:
            return stream.read()
        except OSError as error:
            raise Unreadable(f"cannot be read ({error.strerror})") from error


def _lines(path: Path) -> Iterator[bytes]:
    stream = _opened(path)
    if stream is None:
        return
    with stream:
        try:
            yield from stream
        except OSError as error:
            raise Unreadable(f"cannot be read ({error.strerror})") from error


def _opened(path: Path) -> BinaryIO | None:
    """A regular file; none where there is no file."""
    try:
        return open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        strange = error.errno in (errno.EISDIR, errno.EINVAL)
        raise Unreadable(error.strerror if strange else f"cannot be read ({error.strerror})") from error


def sha256(content: bytes) -> str:
    """SHA-256 of some content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_record(path: Path, kind: Kind, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write a record atomically, with the version of its format, and return it.

    Raises:
        Damaged: it is none of its kind; nothing is written.
    """
    row = {**kind.version, **content}
    write_bytes(path, _encoded(kind, row, indent=2))
    return row


def append_record(path: Path, kind: Kind, content: Mapping[str, Any]) -> dict[str, Any]:
    """Append a record as one line, with the version of its format, durable when this returns, and return it.

    Raises:
        Damaged: it is none of its kind; nothing is written.
    """
    row = {**kind.version, **content}
    append_bytes(path, _encoded(kind, row))
    return row


def write_predictions(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write a file of predictions atomically and return its SHA-256, which belongs into its result."""
    content = b"".join(_encoded(PREDICTION, row) for row in rows)
    write_bytes(path, content)
    return sha256(content)


def _encoded(kind: Kind, row: Mapping[str, Any], indent: int | None = None) -> bytes:
    text = json.dumps(row, ensure_ascii=False, allow_nan=False, indent=indent)
    content = whole_characters(text).encode()
    kind.parse(content)
    return content + b"\n"
