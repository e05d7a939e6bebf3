"""The folder on this machine's own disk that holds Ray's sockets and logs while a study runs."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

PREFIX = "raypeft-"
LONGEST = 40  # names of sockets, which lie some 65 characters deeper, end at 107


def make() -> Path:
    """A new one, in `RAY_TMPDIR` or the system's place for temporary files, or `/tmp` where that is too long."""
    base = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=base if len(base) <= LONGEST - len(PREFIX) - 8 else "/tmp"))


def remove(folder: Path) -> None:
    """Kill the processes that name the folder on their command line, as all of Ray's do, and remove it."""
    if not folder.name.startswith(PREFIX):
        return
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and any(str(folder) in argument for argument in process.cmdline()):
                process.kill()
    shutil.rmtree(folder, ignore_errors=True)
