"""Memory: peaks of a trial's phases, errors that say it ran out, giving it back; a worker's share of its GPU."""

import ctypes
import errno
import gc
import re
import resource
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from raypeft.estimate.memory import CUDA_CONTEXT, GIB
from raypeft.runs.records import Memory

MIB = 2**20
Phase = Literal["training", "decoding"]
KEYS = ("training_memory_mib", "training_reserved_mib", "decoding_memory_mib", "decoding_reserved_mib")
# What torch says in plain RuntimeErrors, which have no other mark: its allocator on a CPU, CUDA outside its allocator,
# cuBLAS for want of a workspace.
EXHAUSTED = re.compile(
    r"\[enforce fail at alloc_cpu\.cpp:\d+\] .*DefaultCPUAllocator: can't allocate memory: you tried"
    r"|CUDA error: out of memory"
    r"|CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `"
)


def reset_peak() -> None:
    """Start measuring: by torch's statistics on a GPU, on Linux CPUs by the kernel's high-water mark.

    Memory that torch or the C library only keeps for later use is given back first, so that it does not count: the
    decoding after a training would else be said to take what the training took.
    """
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """Peak since `reset_peak`, in MiB: allocated GPU memory, or resident memory of the process.

    Where the kernel cannot reset its mark, the peak is that of the whole process.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / MIB
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scale = 1 if sys.platform == "darwin" else 1024
    return max(peak * scale, psutil.Process().memory_info().rss) / MIB


def reserved_mib() -> float | None:
    """Peak of what torch has reserved on the GPU since `reset_peak`, in MiB; none on a CPU."""
    return torch.cuda.max_memory_reserved() / MIB if torch.cuda.is_available() else None


class Peaks:
    """Peak memory of training and of decoding apart, in MiB.

    Args:
        recorded: the last report of a trial that goes on, whose peaks still count.
    """

    def __init__(self, recorded: Memory | None = None) -> None:
        known = recorded.model_dump(include=set(KEYS), exclude_unset=True) if recorded else {}
        self._peaks: dict[str, float | None] = known
        reset_peak()

    def attribute(self, phase: Phase) -> None:
        """Count what was used since the last call for `phase`, and measure anew."""
        for key, peak in ((f"{phase}_memory_mib", peak_mib()), (f"{phase}_reserved_mib", reserved_mib())):
            self._peaks[key] = max((value for value in (self._peaks.get(key), peak) if value is not None), default=None)
        reset_peak()

    def as_report(self) -> dict[str, Any]:
        """`peak_memory_mib` of all, and those of `KEYS` that have been measured, none for what a CPU does not have."""
        memory = [value for key, value in self._peaks.items() if key.endswith("_memory_mib") and value is not None]
        return {"peak_memory_mib": max(memory, default=None), **self._peaks}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and EXHAUSTED.match(str(error)) is not None


def give_back() -> None:
    """Free what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


SLACK = 0.05
POLLS, SECONDS_BETWEEN = 12, 5


def gpu_fault() -> str | None:
    """Why torch cannot compute on the GPU of this process, of which others say that it is there; none where it can.

    Without this question a build of torch that does not suit the driver would quietly train on the CPU.
    """
    build = f"torch {torch.__version__} ({build_of_torch()})"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        return ": ".join([f"{build} finds no GPU that it can use", *(str(one.message) for one in said)])
    try:
        torch.ones(1, device="cuda").add(1).item()
    except RuntimeError as error:
        return f"{build} cannot compute on the GPU: {str(error).splitlines()[0]}"
    return None


def build_of_torch() -> str:
    """What the installed torch was built for."""
    return f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"


def limit_gpu_memory(gib: float | None) -> None:
    """Let this process take no more of its GPU than a card of `gib` GiB would give it; nothing means the whole card.

    What CUDA itself takes on such a card is left free (`torch.cuda.set_per_process_memory_fraction` counts only what
    torch allocates). Without a GPU nothing happens.
    """
    if gib is None or not torch.cuda.is_available():
        return
    total = torch.cuda.get_device_properties().total_memory
    torch.cuda.set_per_process_memory_fraction(memory_fraction(gib, total))


def memory_fraction(gib: float, total: int) -> float:
    """Share of a GPU with `total` bytes that torch may allocate so that a card of `gib` GiB would do."""
    return min(1.0, max(0.0, gib * GIB - CUDA_CONTEXT) / total)


def await_free_gpu(share: float) -> bool:
    """Wait until others have left `share` of this worker's GPU, a minute at most (`ray.tune.utils.wait_for_gpu`).

    A worker that was stopped may hold its memory for some seconds after its GPU was given to the next. Waiting needs
    Ray and the package GPUtil; where one of them is missing, or the memory stays taken, work goes on and running out
    of memory shows itself.

    Returns:
        Whether the memory is known to be free.
    """
    if not torch.cuda.is_available():
        return False
    import ray
    from ray.tune.utils import wait_for_gpu

    if not ray.is_initialized():
        return False
    own = torch.cuda.memory_reserved() + CUDA_CONTEXT
    used = own / torch.cuda.get_device_properties().total_memory
    try:
        return bool(wait_for_gpu(target_util=1 - share + used + SLACK, retry=POLLS, delay_s=SECONDS_BETWEEN))
    except (RuntimeError, ValueError):
        return False
