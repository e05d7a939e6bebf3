"""Peak memory of a stretch of work."""

import resource
import sys
from pathlib import Path

import psutil
import torch

MIB = 2**20


def reset_peak() -> None:
    """Start measuring: by torch's statistics on a GPU, on Linux CPUs by the kernel's high-water mark."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    marker = Path("/proc/self/clear_refs")
    if marker.exists():
        try:
            marker.write_text("5")
        except OSError:
            return


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU (torch raises a plain RuntimeError there)."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
