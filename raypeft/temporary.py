"""The folder on this machine's own disk that holds Ray's sockets and logs while a study runs."""

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

PREFIX = "raypeft-"
LONGEST = 40  # names of sockets, which lie some 65 characters deeper, end at 107
GONE_IN_SECONDS = 5.0


def make() -> Path:
    """A new one, in `RAY_TMPDIR` or the system's place for temporary files, or `/tmp` where that is too long."""
    base = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=base if len(base) <= LONGEST - len(PREFIX) - 8 else "/tmp"))


def remove(folder: Path) -> None:
    """Kill the processes that name the folder on their command line, as all of Ray's do, and remove it.

    One that has not ended yet may still write there, so that the folder could not be removed: they are waited for.
    """
    if not folder.name.startswith(PREFIX):
        return
    killed = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and any(str(folder) in argument for argument in process.cmdline()):
                process.kill()
                killed.append(process)
    deadline = time.monotonic() + GONE_IN_SECONDS
    while any(_runs(process) for process in killed) and time.monotonic() < deadline:
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
