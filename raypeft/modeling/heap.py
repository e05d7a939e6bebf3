"""The C library's heap in a worker; imports nothing large, so that it can be called before torch is loaded."""

import ctypes
import os
from collections.abc import Mapping, MutableMapping

# Numbers of glibc's malloc.h
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGE, KEPT = 2**19, 64 * 2**20
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"


def map_large_blocks(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Have the C library map each block of memory of half a MiB and more by itself, and torch do so in huge pages.

    Otherwise blocks of up to 32 MiB lie in one heap, whose gaps, other ones in each run, make a trial on a CPU take up
    to a third more memory than it uses. A page is new each time, which takes up to a fifth more processor time; huge
    ones (of blocks from 2 MiB on, where the kernel has them) cost the least. Smaller blocks stay in the heap: they make
    little of a trial's memory, and mapping them takes long. Where a model's matrices are among them, as half-precision
    ones of a width of 640 are with a limit of one MiB, they leave gaps that larger blocks are put into. To be called
    before torch first asks for memory.

    Args:
        environment: of this process; a setting of the C library's heap or of torch's huge pages in it is left as it is.

    Returns:
        Whether it does: false where the C library cannot (glibc's `mallopt`) or the user has set something else.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or _is_set(environment):
        return False
    environment.setdefault(HUGE_PAGES, "1")
    return bool(mallopt(MMAP_THRESHOLD, LARGE) and mallopt(TRIM_THRESHOLD, KEPT))


def _is_set(environment: Mapping[str, str]) -> bool:
    return any(name.startswith("MALLOC_") for name in environment) or "glibc.malloc" in environment.get(
        "GLIBC_TUNABLES", ""
    )
