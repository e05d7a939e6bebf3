"""Reading and writing the files of a run folder: only what is a whole record of its kind, and its owner's, gets in."""

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import ValidationError

from raypeft.errors import UserError
from raypeft.output.files import append_bytes, is_object, open_regular, write_bytes, write_json
from raypeft.runs.records import FORMAT, Prediction, Record, Versioned, whole_characters

LARGEST = 2**28
"""Bytes of a file that is read at once; none of a run comes near."""
_ESCAPED_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
R = TypeVar("R", bound=Record)


class Damaged(ValueError):
    """Content that is not the record it should be: not JSON, of another shape, out of bounds, or somebody else's."""


def parse(kind: type[R], content: bytes) -> R:
    """The record of a kind that a file or line holds.

    Raises:
        Damaged: it holds none.
        UserError: it is of a later version of raypeft.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        mended = _with_whole_characters(content)
        if mended is None:
            raise Damaged(_first(error, kind.KIND)) from None
        return parse(kind, mended)


def _with_whole_characters(content: bytes) -> bytes | None:
    """JSON without the half characters that it has; none where it has none, or is not JSON."""
    if _ESCAPED_HALF.search(content) is None:
        return None
    try:
        text = json.dumps(json.loads(content), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    mended: str = whole_characters(text)
    return mended.encode() if mended != text else None


def _first(error: ValidationError, name: str) -> str:
    """The first thing that is wrong, in a few words."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"]))[:80]
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
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

    def record(self, path: Path, kind: type[R], whose: Callable[[R], str | None] = lambda record: None) -> R | None:
        """The record that a file holds; none where there is no file or a faulty one.

        Args:
            path: the file.
            kind: what it should hold.
            whose: says what is wrong with a record that belongs elsewhere.

        Raises:
            UserError: it was written by a later version of raypeft.
        """
        found: R | None = None
        with _Watched(self, path):
            content = content_of(path)
            if content is None:
                return None
            record = parse(kind, content)
            if stranger := whose(record):
                raise Damaged(stranger)
            found = record
        return found

    def rows(self, path: Path, record_of: Callable[[bytes], R]) -> Iterator[R]:
        """The rows of a file of lines without the damaged ones; a torn last line, which may just be written, is none.

        Raises:
            UserError: as `record`.
        """
        bad: list[tuple[int, str]] = []
        with _Watched(self, path):
            for number, line in enumerate(_lines(path), start=1):
                try:
                    row = record_of(line)
                except Damaged as error:
                    if line.strip() and (line.endswith(b"\n") or is_object(line)):
                        bad.append((number, str(error)))
                    continue
                yield row
            if bad:
                lines = "1 damaged line" if len(bad) == 1 else f"{len(bad)} damaged lines, the first of them"
                raise Damaged(f"{lines} (line {bad[0][0]}: {bad[0][1]})")

    def predictions(self, path: Path, digest: str | None) -> list[Prediction]:
        """The rows of a file of predictions; none where there is no file or a damaged one.

        Args:
            path: the file.
            digest: SHA-256 of the file that its result was computed from, where the result says so.

        Raises:
            UserError: as `record`.
        """
        rows: list[Prediction] = []
        with _Watched(self, path):
            content = content_of(path)
            if content is None:
                if digest is not None:
                    raise Damaged("is missing")
                return []
            if digest is not None and sha256(content) != digest:
                raise Damaged("is not the file that its result was computed from")
            rows = [parse(Prediction, line) for line in content.split(b"\n") if line]
        return rows


class _Watched:
    """Turns what goes wrong in its block into a fault of a file."""

    def __init__(self, reading: Reading, path: Path) -> None:
        self.reading = reading
        self.path = path

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


def write_record(path: Path, record: R) -> R:
    """Write a record atomically, with the version of its format, and return what is written."""
    record = _of_now(record)
    write_json(path, record.content())
    return record


def append_record(path: Path, record: R) -> R:
    """Append a record as a line, with the version of its format, durable when this returns; return what is written."""
    record = _of_now(record)
    append_bytes(path, _line(record))
    return record


def write_predictions(path: Path, rows: Iterable[Prediction]) -> str:
    """Write a file of predictions atomically and return its SHA-256, which belongs into its result."""
    content = b"".join(map(_line, rows))
    write_bytes(path, content)
    return sha256(content)


def _of_now(record: R) -> R:
    if isinstance(record, Versioned) and record.format != FORMAT:
        return record.model_copy(update={"format": FORMAT})
    return record


def _line(record: Record) -> bytes:
    return record.model_dump_json(exclude_unset=True).encode() + b"\n"
