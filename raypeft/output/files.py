"""Durable files: atomic writes, and JSON lines that survive a torn last line."""

import errno
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from raypeft.errors import UserError


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part (temporary file, then rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_unwritable(path: Path, where: str) -> None:
    """Raise unless a file can be made in a place; the folders above it are made.

    Args:
        path: of the file.
        where: what it was asked for by, for the message.

    Raises:
        UserError: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=where) from error


def is_writable(folder: Path) -> bool:
    """Whether files can be written to a folder, or where it is still to be made."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return os.access(there, os.W_OK | os.X_OK)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, readable and in UTF-8."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read it; never wait for the other end of a pipe.

    Raises:
        OSError: it cannot be read, or is something else; a folder is an `IsADirectoryError`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    raise OSError(errno.EINVAL, "is no regular file", str(path))


def read_json(path: Path) -> Any:
    """Read JSON, or none where there is no file or a damaged one."""
    try:
        with open_regular(path) as stream:
            return json.loads(stream.read())
    except PermissionError:
        raise
    except (OSError, ValueError, RecursionError):
        return None


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write JSON lines atomically."""
    write_text(path, "".join(_line(row) for row in rows))


def append_line(path: Path, row: Any) -> None:
    """Append one JSON line as `append_lines` does."""
    append_lines(path, [row])


def append_lines(path: Path, rows: Iterable[Any]) -> None:
    """Append JSON lines as `append_bytes` does."""
    append_bytes(path, "".join(_line(row) for row in rows).encode())


def append_bytes(path: Path, lines: bytes) -> None:
    """Append whole lines in a single write, durable when this returns; a torn line before them is closed off first.

    Not to what a link in the place of the file leads to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666)) as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            torn = stream.read(1) != b"\n"
        else:
            torn = False
        stream.write((b"\n" if torn else b"") + lines)
        stream.flush()
        os.fsync(stream.fileno())


def read_lines(path: Path) -> Iterator[Any]:
    """Rows of a JSON-lines file; a line that is not JSON (torn by a kill) is passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                continue


def is_object(line: bytes) -> bool:
    """Whether a line holds a JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def repair_lines(path: Path, is_row: Callable[[bytes], bool] = is_object) -> int:
    """Rewrite a file of lines without those that hold no row, by default no JSON object, and end its last line.

    Returns:
        How many lines were dropped.
    """
    if not path.exists():
        return 0
    content = path.read_bytes()
    lines = [line for line in content.split(b"\n") if line]
    kept = [line for line in lines if is_row(line)]
    if content != (repaired := b"".join(line + b"\n" for line in kept)):
        write_bytes(path, repaired)
    return len(lines) - len(kept)


def _line(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
