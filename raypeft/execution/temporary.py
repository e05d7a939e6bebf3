"""The folder on this machine's own disk that holds Ray's sockets and logs while a study runs."""

import os
import shutil
import stat
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from raypeft.errors import UserError
from raypeft.execution.processes import Identity, identities, kill, started_here
from raypeft.output.files import write_text

PREFIX = "raypeft-"
MARK = "mark.json"
RAY = "r"
SHORT = "/tmp"
LONGEST = 20  # of the place for it: names of sockets, which lie some 87 characters deeper, end at 107
GONE_IN_SECONDS = 5.0
_one_at_a_time = threading.RLock()  # of the threads that write in a folder or remove it, and of signals in between


class Mark(BaseModel):
    """What a temporary folder says of itself; nobody else can write there.

    Attributes:
        maker: the process that made it.
        processes: those that were started for it.
        others: those that the maker had started before, which are none of its.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    maker: Identity
    processes: list[Identity] = []
    others: list[Identity] = []


def base() -> Path:
    """Where it is made: `RAY_TMPDIR` or the system's place for temporary files, or `/tmp` where that is too long.

    Raises:
        UserError: there is no such folder, or it cannot be written.
    """
    chosen = os.environ.get("RAY_TMPDIR")
    try:
        place = os.path.abspath(chosen or tempfile.gettempdir())
    except FileNotFoundError as error:
        raise UserError(f"there is no place for temporary files: {error.strerror}", hint=_HINT) from None
    for folder, name in ((place, "RAY_TMPDIR" if chosen else "TMPDIR"), (SHORT, "temporary files")):
        if not os.path.isdir(folder):
            raise UserError(f"folder {folder} does not exist", where=name, hint=_HINT)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(f"folder {folder} cannot be written", where=name, hint=_HINT)
        if len(os.fsencode(folder)) <= LONGEST:
            return Path(folder)
    raise AssertionError(f"{SHORT} is short")


_HINT = f"Set RAY_TMPDIR to a folder that can be written, with a path of at most {LONGEST} characters."


def make() -> Path:
    """A new one, which only this user can enter.

    Raises:
        UserError: there is no place for it.
    """
    place = base()
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        (folder / RAY).mkdir()
        _write(folder, Mark(maker=Identity.here(), others=identities(started_here())))
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=str(place), hint=_HINT) from error
    return folder


def record(folder: Path) -> None:
    """Write down which processes have been started from this one since `make`: for it, or a later one, to end them."""
    with _one_at_a_time:
        mark = read(folder)
        if mark is None or mark.maker.pid != os.getpid():
            return
        others = {process.pid for one in mark.others if (process := one.find())}
        known = set(mark.processes)
        if new := [one for one in identities(started_here()) if one not in known and one.pid not in others]:
            _write(folder, mark.model_copy(update={"processes": [*mark.processes, *new]}))


def processes(folder: Path) -> list[psutil.Process]:
    """Those that are recorded of a folder and have not ended, and what they have started since: Ray's workers."""
    mark = read(folder)
    recorded = [process for one in mark.processes if (process := one.find())] if mark else []
    found = {process.pid: process for process in recorded}
    for process in recorded:
        with suppress(psutil.Error):
            found |= {child.pid: child for child in process.children(recursive=True)}
    return list(found.values())


def read(folder: Path) -> Mark | None:
    """The mark of a folder that `make` has made for this user; none where it has not."""
    places = {os.path.realpath(place) for place in (os.environ.get("RAY_TMPDIR"), _system(), SHORT) if place}
    try:
        if not folder.name.startswith(PREFIX) or os.path.realpath(folder.parent) not in places:
            return None
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o700:
            return None
        return Mark.model_validate_json((folder / MARK).read_bytes())
    except (OSError, ValueError):
        return None


def remove(folder: Path) -> None:
    """End the processes that are recorded of a folder, and remove it; not one that `make` has not made for this user.

    Nor one whose maker is another process that lives. What has not ended yet may still write there: it is waited for.
    """
    mark = read(folder)
    if mark is None:
        return
    maker = mark.maker.find()
    if maker is not None and maker.pid != os.getpid():
        return
    deadline = time.monotonic() + GONE_IN_SECONDS
    running = processes(folder)
    with _one_at_a_time, suppress(OSError):  # should this process be ended here, the next one knows them all
        _write(folder, mark.model_copy(update={"processes": identities(running)}))
    kill(running, GONE_IN_SECONDS)
    with _one_at_a_time:
        shutil.rmtree(folder, ignore_errors=True)
        while folder.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
            shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, mark: Mark) -> None:
    write_text(folder / MARK, mark.model_dump_json())


def _system() -> str | None:
    with suppress(FileNotFoundError):
        return tempfile.gettempdir()
    return None
