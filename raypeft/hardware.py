"""What this machine has, found without torch."""

import os
import platform
import subprocess
from pathlib import Path

DEVICE = Path("/dev/nvidia0")


def cpu() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            return next(line.split(":", 1)[1].strip() for line in stream if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


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


def output(*command: str) -> str | None:
    """What a command prints, none where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _listed(query: str) -> list[str] | None:
    listing = output("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader")
    return None if listing is None else [line.strip() for line in listing.splitlines() if line.strip()]
