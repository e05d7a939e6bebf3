"""Processes by what tells one from a later one of its number: when it started."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil
from pydantic import BaseModel, ConfigDict, Field

SAME_SECONDS = 1.0  # psutil reckons a start from the boot's, which clock corrections move a little


class Identity(BaseModel):
    """A process of this machine.

    Attributes:
        pid: its number.
        created: its start in seconds since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pid: int = Field(ge=1, lt=2**31)
    created: float = Field(allow_inf_nan=False)

    @classmethod
    def here(cls) -> "Identity":
        """This process."""
        return cls(pid=os.getpid(), created=psutil.Process().create_time())

    def find(self) -> psutil.Process | None:
        """The process, none where it has ended."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) < SAME_SECONDS and runs(process):
                return process
        return None


def runs(process: psutil.Process) -> bool:
    """Whether a process has not ended."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def started_here() -> list[psutil.Process]:
    """Processes started from this one, and those started from them."""
    return psutil.Process().children(recursive=True)


def identities(processes: Iterable[psutil.Process]) -> list[Identity]:
    """What tells processes apart later; those that have ended meanwhile are left out."""
    found = []
    for process in processes:
        with suppress(psutil.Error):
            found.append(Identity(pid=process.pid, created=process.create_time()))
    return found


def kill(processes: Iterable[psutil.Process], seconds: float = 0.0) -> None:
    """Kill processes, and wait up to `seconds` until they have ended."""
    killed = []
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
            killed.append(process)
    deadline = time.monotonic() + seconds
    while any(runs(process) for process in killed) and time.monotonic() < deadline:
        time.sleep(0.01)
