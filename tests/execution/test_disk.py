"""A full disk is told from other faults, whoever met it."""

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from raypeft.errors import UserError
from raypeft.execution import disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of one MiB; needs the right to mount one."""
    import subprocess

    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_errors_of_every_writer_are_known(small_disk: Path) -> None:
    tensor = torch.zeros(2**20)
    writers = {
        "python": lambda: (small_disk / "a").write_bytes(bytes(2**22)),
        "torch": lambda: torch.save(tensor, small_disk / "b"),
        "safetensors": lambda: save_file({"x": tensor}, small_disk / "c"),
    }
    for name, write in writers.items():
        for file in small_disk.iterdir():
            file.unlink()
        with pytest.raises(Exception) as caught:
            write()
        assert disk.is_full(caught.value), (name, caught.value)


def test_an_error_is_known_by_what_caused_it() -> None:
    try:
        try:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        except OSError as error:
            raise RuntimeError("could not save") from error
    except RuntimeError as error:
        assert disk.is_full(error)
    assert not disk.is_full(OSError(errno.EIO, "Input/output error"))
    assert not disk.is_full(RuntimeError("out of memory"))


@pytest.mark.parametrize(
    "error",
    [
        TypeError("Unexpected position_ids in forward"),
        ValueError("unexpected pos 3 vs 4"),
        RuntimeError("Unexpected position of the token in line 3"),
        RuntimeError("the argument says: no space left on device (os error 28)"),
        KeyError("disk quota exceeded"),
        Exception("os error 28 is what the text speaks of"),
        OSError(errno.EIO, "no space left on device"),
    ],
)
def test_words_alone_do_not_make_a_disk_full(error: Exception) -> None:
    assert not disk.is_full(error)


@pytest.mark.parametrize("number", [28, 122])
def test_numbers_in_errors_of_rust_are_read(number: int) -> None:
    """As tokenizers raises them."""
    assert disk.is_full(Exception(f"Some words (os error {number})"))
    assert not disk.is_full(Exception("No such file or directory (os error 2)"))


def test_room_for_the_checkpoints_of_the_running_trials_is_kept() -> None:
    # 3 checkpoints of 100 MiB for each of 4 trials, and 32 MiB for everything else
    assert disk.reserve(100 * 2**20, 4) == (3 * 100 * 4 + 32) * 2**20


def test_what_may_not_fit_is_said_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoint").write_bytes(bytes(1_000_000))
    monkeypatch.setattr(disk, "free", lambda folder: 50_000_000)
    assert disk.shortage(tmp_path, 51_000_000) is None
    assert "about 1.0 GB more may be needed" in str(disk.shortage(tmp_path, 1_001_000_000))
    monkeypatch.setattr(disk, "free", lambda folder: 30_000_000)
    with pytest.raises(UserError, match=r"the disk is full: 30 MB are free, and at least 34 MB are needed"):
        disk.shortage(tmp_path, 0)
