"""Disk space: how much is free, how much is wanted, and faults that say it has run out."""

import errno
import re
import shutil
from pathlib import Path

from safetensors import SafetensorError

from raypeft.errors import UserError
from raypeft.output.text import size

MIB = 2**20
FLOOR = 32 * MIB
CHECKPOINTS = 3  # of each running trial: the one that is written, while best and last are still there
FULL = (errno.ENOSPC, errno.EDQUOT)
# What `torch.save` says in a plain RuntimeError when its file is shorter than it should be, which is all it says.
CUT = re.compile(r"\[enforce fail at inline_container\.cc:\d+\] \. unexpected pos \d+ vs \d+")
# How an error of Rust's `std::io` is written, the end of what safetensors and tokenizers say in errors of their own.
RUST = re.compile(r".*\(os error (\d+)\)", re.DOTALL)


def is_full(error: BaseException) -> bool:
    """Whether a fault, or what caused it, says that the disk is full or a quota used up."""
    seen: BaseException | None = error
    while seen is not None:
        if _says_full(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _says_full(error: BaseException) -> bool:
    """By its number; by exact text where C++ or Rust raise an error that has none."""
    if isinstance(error, OSError):
        return error.errno in FULL
    if type(error) is RuntimeError:
        return CUT.match(str(error)) is not None
    if type(error) is Exception or isinstance(error, SafetensorError):
        number = RUST.fullmatch(str(error))
        return number is not None and int(number[1]) in FULL
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


def shortage(folder: Path, estimate: float) -> str | None:
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
