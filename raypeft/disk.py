"""Disk space: how much is free, how much is wanted, and faults that say it has run out."""

import errno
import shutil
from pathlib import Path

from raypeft.errors import UserError
from raypeft.hub.fetching import size

MIB = 2**20
FLOOR = 32 * MIB
CHECKPOINTS = 3  # of each running trial: the one that is written, while best and last are still there
_TEXTS = (
    "no space left on device",
    "disk quota exceeded",
    "os error 28",
    "os error 122",
    "unexpected pos",  # torch.save, which says no more than that its file is shorter than it should be
)


def is_full(error: BaseException) -> bool:
    """Whether a fault, or what caused it, says that the disk is full or a quota used up.

    Libraries that write in C++ or Rust raise kinds of their own, known by their text.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(text in str(seen).lower() for text in _TEXTS):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def free(folder: Path) -> int:
    """Free bytes where a folder lies."""
    return shutil.disk_usage(folder).free


def reserve(checkpoint: int, trials: int) -> int:
    """Bytes that must be free while `trials` trials write checkpoints of `checkpoint` bytes."""
    return FLOOR + CHECKPOINTS * checkpoint * trials


def full(folder: Path, detail: str) -> UserError:
    """The message of a run that pauses for want of space."""
    return UserError(
        f"the disk is full: {detail}",
        where=str(folder),
        hint="Nothing recorded is lost. Make room, and the same command goes on from here; "
        "with --set resources.keep_checkpoints=best it needs less.",
    )


def outlook(folder: Path, estimate: float) -> str | None:
    """What to expect of a run whose folder may come to hold `estimate` bytes, where there may be too little room.

    Raises:
        UserError: there is not even room to begin.
    """
    here = free(folder)
    if here < FLOOR:
        raise full(folder, f"{size(here)} are free, and at least {size(FLOOR)} are needed")
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if here < (missing := estimate - used):
        return (
            f"Disk: about {size(missing)} more may be needed in {folder}, and {size(here)} are free. "
            "Should they run out, the run pauses, and goes on when there is room."
        )
    return None
