"""What this machine has, found without torch."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

DEVICE = Path("/dev/nvidia0")
USUAL_RATE = 50e9  # where nothing can be measured
PRODUCTS = """
import time, numpy
size, best = 512, 0.0
matrix = numpy.ones((size, size), numpy.float32)
until = time.perf_counter() + 0.05
while (start := time.perf_counter()) < until:
    matrix @ matrix
    best = max(best, 2 * size**3 / (time.perf_counter() - start))
print(best)
"""


def cpu() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return next(line.split(":", 1)[1].strip() for line in stream if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def product_rate() -> float:
    """Floating-point operations a second of one core in fp32 products of matrices, measured in a third of a second.

    It is measured in a process of its own, whose products then keep to one core.
    """
    single = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")}
    measured = output(sys.executable, "-P", "-c", PRODUCTS, env=single)
    return float(measured) if measured else USUAL_RATE


def listed_gpus() -> list[str]:
    """This machine's GPUs with their memory, as NVIDIA's tool lists them."""
    return _listed("name,memory.total") or []


def capabilities() -> list[float] | None:
    """Compute capabilities of the GPUs that this process may use; none where there may be some of unknown ones."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return []
    if not listed_gpus():
        return None if DEVICE.exists() else []
    try:
        return [float(line) for line in _listed("compute_cap") or ["unknown"]]
    except ValueError:
        return None


def output(*command: str, env: Mapping[str, str] | None = None) -> str | None:
    """What a command prints, none where it is missing or fails; `env` is added to the environment."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env={**os.environ, **(env or {})})
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _listed(query: str) -> list[str] | None:
    listing = output("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader")
    return None if listing is None else [line.strip() for line in listing.splitlines() if line.strip()]
