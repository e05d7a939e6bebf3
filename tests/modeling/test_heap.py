"""Large blocks of memory are mapped by themselves, as seen by the C library's own count of them (mallinfo2)."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from raypeft.evaluation import pool
from raypeft.modeling.heap import HUGE_PAGES, map_large_blocks
from raypeft.runs.folder import Run
from raypeft.sweep import worker

# A block that was mapped and freed raises glibc's threshold, so that the next one would come from the heap.
BLOCKS = """
import ctypes, sys
from raypeft.modeling.heap import map_large_blocks
libc = ctypes.CDLL(None)
class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
libc.mallinfo2.restype = Counts
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
if sys.argv[1] == "mapped":
    assert map_large_blocks()
libc.free(libc.malloc(16 * 2**20))
before = libc.mallinfo2().hblkhd
libc.malloc(3 * 2**18)
libc.malloc(2**18)
print(libc.mallinfo2().hblkhd - before)
"""
GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallinfo2")


@pytest.mark.skipif(not GLIBC, reason="counts of glibc 2.33 and later")
@pytest.mark.parametrize(("how", "mapped"), [("mapped", 3 * 2**18), ("as it is", 0)])
def test_blocks_from_half_a_mib_on_are_mapped_by_themselves(how: str, mapped: int) -> None:
    """Of blocks of three and of one quarter of a MiB the first; without it none, after a larger one was freed."""
    done = subprocess.run([sys.executable, "-c", BLOCKS, how], capture_output=True, text=True, check=True)
    assert mapped <= int(done.stdout) <= mapped + 2**16 * bool(mapped)


@pytest.mark.parametrize(
    "setting",
    [
        {"MALLOC_MMAP_THRESHOLD_": "131072"},
        {"MALLOC_ARENA_MAX": "1"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_settings_of_the_user_stay(setting: dict[str, str]) -> None:
    """Whoever has set up the heap keeps it, and torch's pages."""
    environment = dict(setting)
    assert not map_large_blocks(environment)
    assert environment == setting


def test_torch_asks_for_huge_pages_unless_the_user_has_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heap itself is not touched here."""
    monkeypatch.setattr("raypeft.modeling.heap.ctypes.CDLL", lambda name: type("C", (), {"mallopt": lambda *a: 1}))
    for environment, expected in (({}, "1"), ({HUGE_PAGES: "0"}, "0")):
        assert map_large_blocks(environment)
        assert environment[HUGE_PAGES] == expected
    monkeypatch.setattr("raypeft.modeling.heap.ctypes.CDLL", lambda name: object())
    assert not map_large_blocks({})


class Reached(Exception):
    """Raised instead of setting up the process."""


STEPS = ("map_large_blocks", "omit_gpus")


@pytest.mark.parametrize("step", STEPS)
def test_workers_are_set_up_before_they_load_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Of trials and of evaluations; what comes after the step would fail without a run."""

    def reached() -> None:
        raise Reached

    for module in (worker, pool):
        for name in STEPS:
            monkeypatch.setattr(module, name, reached if name == step else lambda: None)
    monkeypatch.setattr(worker, "_plan", lambda folder: None)
    with pytest.raises(Reached):
        worker._train(Run(tmp_path), {}, lambda report: None)
    with pytest.raises(Reached):
        pool.Evaluator(str(tmp_path), 1)
