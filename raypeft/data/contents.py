"""Content of data files: of regular files alone, unpacked, and no more of it than fits."""

import gzip
import stat
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from raypeft.errors import UserError

MIB = 2**20
# The most that is read of a file, once unpacked: a small compressed file can hold more than any memory.
LARGEST = 512 * MIB
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def read_content(path: Path) -> bytes:
    """The whole of a file, unpacked where its name ends in `.gz`.

    Raises:
        UserError: it is no regular file, is damaged, or holds more than is read.
        OSError: it is not there, or may not be read.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else _KINDS.get(stat.S_IFMT(mode), "something else")
        raise UserError(f"is {kind}, not a file", where=str(path))
    parts, size = [], 0
    try:
        for part in _parts(path):
            size += len(part)
            if size > LARGEST:
                raise too_large(path)
            parts.append(part)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return b"".join(parts)


def too_large(path: Path) -> UserError:
    """A file holds more than is read."""
    what = f"holds more than {LARGEST // MIB:,} MiB, the most that is read of a data file"
    return UserError(what, where=str(path), hint="Take a part of it.")


def _parts(path: Path) -> Iterator[bytes]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        while part := stream.read(MIB):
            yield part


def decoded(content: bytes, path: Path) -> str:
    """Text in UTF-8, with or without a byte order mark; bytes that are not UTF-8 stay as `surrogateescape` has them.

    Raises:
        UserError: it holds NUL bytes, as text in UTF-16 does.
    """
    with suppress(ValueError):
        line = line_of(content, content.index(0))
        raise UserError(
            "holds a NUL byte, so it is no text in UTF-8", where=f"{path}, line {line}", hint="Save it as UTF-8."
        )
    return content.decode("utf-8-sig", "surrogateescape")


def line_of(text: bytes, position: int) -> int:
    """The number of the line that a position is in, whatever lines end with."""
    before = text[:position]
    return 1 + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")
