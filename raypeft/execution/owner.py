"""One owner a run folder: the process that writes there."""

import errno
import fcntl
import functools
import json
import os
import platform
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from rich.console import Console

from raypeft.errors import UserError
from raypeft.execution import temporary
from raypeft.execution.interruption import Interruption
from raypeft.execution.processes import Identity
from raypeft.output.console import say
from raypeft.output.files import open_regular, write_json
from raypeft.output.text import discreet

RECORD = "owner.json"
LOCK = "owner.lock"
FILES = (RECORD, LOCK)
BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Owner:
    """The process that has a run folder, as it describes itself in `owner.json`.

    Attributes:
        host, boot: machine, and which of its boots.
        pid, created: the process, and its start in seconds since 1970, which tells it from a later one of its number.
        since: when it took the folder.
        command: what was typed.
        mark: told apart by this alone.
        temporary: folder on `host` that goes when the process ends.
    """

    host: str
    boot: str
    pid: Annotated[int, Field(ge=1, lt=2**31)]
    created: Annotated[float, Field(allow_inf_nan=False)]
    since: str
    command: str
    mark: str
    temporary: str | None = None

    @property
    def identity(self) -> Identity:
        """The process."""
        return Identity(pid=self.pid, created=self.created)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since[:16].replace('T', ' ')}: {self.command}"

    @classmethod
    def here(cls) -> "Owner":
        """This process."""
        here = Identity.here()
        return cls(
            host=platform.node(),
            boot=_boot(),
            pid=here.pid,
            created=here.created,
            since=datetime.now().isoformat(timespec="seconds"),
            command=discreet(" ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])),
            mark=uuid.uuid4().hex,
        )

    @classmethod
    def read(cls, folder: Path) -> "Owner | None":
        """The owner that a run folder names, none where there is none or its record is damaged."""
        try:
            with open_regular(folder / RECORD) as stream:
                return cls(**json.loads(stream.read()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None


class Ownership:
    """Owning a run folder; a context manager.

    Processes of one machine exclude each other by a lock that the kernel drops when its holder dies (`flock`). Across
    machines, and on file systems without that, an owner is judged by its process where that can be seen, else by its
    heartbeat: the modification time of `owner.json`, on the file server's own clock.

    Args:
        folder: the run folder, made where it is missing.
        lost: called, in a thread of its own, when another process has taken over, as after a suspension.

    Raises:
        UserError: on entering, the folder has an owner that lives, or cannot be written.
    """

    def __init__(self, folder: Path, lost: Callable[[], None]) -> None:
        self.folder = folder.absolute()
        self._shown = str(folder)
        self.lost = lost
        self.owner = Owner.here()
        self.before: Owner | None = None
        self._made = False
        self._lock: int | None = None
        self._over = threading.Event()

    def __enter__(self) -> "Ownership":
        hint = "Choose another with --out."
        try:
            self._made = not self.folder.exists()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._take()
        except (FileExistsError, NotADirectoryError):
            raise UserError("is not a folder", where=self._shown, hint=hint) from None
        except OSError as error:
            raise UserError(f"cannot be written: {error.strerror}", where=self._shown, hint=hint) from error
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        return self

    def _take(self) -> None:
        self._lock, exclusive = _open_lock(self.folder)
        before = Owner.read(self.folder)
        try:
            if not exclusive or (before and self._lives(before)):
                raise _refused(self._shown, before)
            self.before = before
            if before and before.host == self.owner.host:  # until it is gone, should this process die first
                self.owner = replace(self.owner, temporary=before.temporary)
            write_json(self.folder / RECORD, asdict(self.owner))
        except BaseException:
            os.close(self._lock)
            raise

    def __exit__(self, *exception: object) -> None:
        self.release()

    def keep(self, temporary: Path) -> None:
        """Write down the temporary folder that a later owner is to remove should this process die."""
        self.owner = replace(self.owner, temporary=str(temporary))
        write_json(self.folder / RECORD, asdict(self.owner))

    def release(self) -> None:
        """Give the folder up, and remove it if it was made for nothing."""
        if self._over.is_set():
            return
        self._over.set()
        found = Owner.read(self.folder)
        if found is None or found.mark == self.owner.mark:
            for name in FILES:
                (self.folder / name).unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
        if self._made:
            with suppress(OSError):
                self.folder.rmdir()

    def _lives(self, owner: Owner) -> bool:
        if (owner.host, owner.boot) == (self.owner.host, self.owner.boot):
            return owner.pid != os.getpid() and owner.identity.find() is not None
        last = (self.folder / RECORD).stat().st_mtime
        if owner.host == self.owner.host and psutil.boot_time() > last:
            return False
        os.utime(self.folder / LOCK)
        return (self.folder / LOCK).stat().st_mtime - last < STALE_SECONDS

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            try:
                os.utime(self.folder / RECORD)
            except FileNotFoundError:
                pass
            except OSError:
                continue  # a file server that does not answer for a while
            if self.owner.temporary:
                with suppress(OSError):
                    temporary.record(Path(self.owner.temporary))
            found = Owner.read(self.folder)
            if (found is None or found.mark != self.owner.mark) and not self._over.is_set():
                self.lost()
                return


@contextmanager
def owned(folder: Path, console: Console) -> Iterator[tuple[Interruption, Ownership]]:
    """The run folder to oneself, what a dead owner left behind removed, and signals handled."""

    def clean() -> None:
        if ownership.owner.temporary:
            temporary.remove(Path(ownership.owner.temporary))
        ownership.release()

    interruption = Interruption(functools.partial(say, console), clean)

    def lost() -> None:
        interruption.end_at_once("Another process has taken over this run folder. ")

    ownership = Ownership(folder, lost)
    with ownership, interruption:
        if before := ownership.before:
            say(console, f"Taking over from {before}, which is gone.")
            if before.temporary and before.host == ownership.owner.host:
                temporary.remove(Path(before.temporary))
        yield interruption, ownership


def _open_lock(folder: Path) -> tuple[int, bool]:
    """The lock file, and whether this process now holds it; on file systems without locks that is taken to be so."""
    path = folder / LOCK
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return handle, error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
        try:
            if os.stat(path).st_ino == os.fstat(handle).st_ino:
                return handle, True
        except FileNotFoundError:
            pass
        os.close(handle)  # its holder removed it in between


def _refused(folder: str, owner: Owner | None) -> UserError:
    if owner is None:
        return UserError("is in use by another raypeft", where=folder, hint="Try again in a moment.")
    if owner.host == platform.node():
        hint = f"Wait for it, or stop it: kill {owner.pid}. Status and report work beside it."
    else:
        hint = (
            "Wait for it, or stop it there. Status and report work beside it.\n"
            f"If it is gone, it counts as dead {STALE_SECONDS:.0f} seconds after its last sign of life."
        )
    return UserError(f"is in use by {owner}", where=folder, hint=hint)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"
