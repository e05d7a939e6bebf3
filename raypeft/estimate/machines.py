"""Machines: what this one has, found without torch, and how fast those are that hours are estimated for."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from raypeft.estimate.footprint import device_of
from raypeft.spec.sections import Resources

ARITHMETIC_SHARE, BANDWIDTH_SHARE = 0.35, 0.7  # what training and decoding with PyTorch reach on a GPU
PASS_SECONDS = 0.025  # launching the kernels of one pass
CPU_SHARE = 0.55  # of the measured product's speed, what training and decoding reach
CPU_BANDWIDTH = 10e9  # bytes a second that one trial reads
CPU_PASS_SECONDS = 0.02
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


@dataclass(frozen=True)
class Machine:
    """What the estimates assume of a machine.

    Attributes:
        name: for people.
        arithmetic: operations a second that one trial reaches.
        reading: bytes of weights a second.
        pass_seconds: what a pass takes beside.
        weight_bytes: bytes of a weight that is not quantised.
        gpu: whether it is a GPU; hours are then those of one, whatever there is.
        at_once: trials that run side by side on a processor.
    """

    name: str
    arithmetic: float
    reading: float
    pass_seconds: float = PASS_SECONDS
    weight_bytes: float = 2.0
    gpu: bool = True
    at_once: int = 1


def _card(name: str, teraflops: float, gigabytes: float) -> Machine:
    return Machine(name, teraflops * 1e12 * ARITHMETIC_SHARE, gigabytes * 1e9 * BANDWIDTH_SHARE)


PAPER = _card("NVIDIA RTX A5000", 111, 768)
# TFLOPS in half precision, dense, in tensor cores, and GB/s, by the makers' data sheets; longer names first.
CARDS = (
    ("RTX 6000 Ada", 364, 960),
    ("RTX A6000", 155, 768),
    ("RTX A5000", 111, 768),
    ("RTX A4000", 77, 448),
    ("RTX 5090", 210, 1792),
    ("RTX 4090", 165, 1008),
    ("RTX 3090", 71, 936),
    ("B200", 2250, 8000),
    ("GH200", 989, 4000),
    ("H200", 989, 4800),
    ("H100 PCIe", 756, 2000),
    ("H100", 989, 3350),
    ("A100", 312, 1555),
    ("L40S", 362, 864),
    ("L40", 181, 864),
    ("A40", 150, 696),
    ("A30", 165, 933),
    ("A10", 125, 600),
    ("L4", 121, 300),
    ("V100", 125, 900),
    ("T4", 65, 320),
)


def machine_here(resources: Resources) -> Machine:
    """The machine that a study would run on: a card that NVIDIA's tool lists, else the processor, measured shortly."""
    if device_of(resources) == "gpu" and (cards := listed_gpus()):
        name = cards[0].partition(",")[0]
        for known, teraflops, gigabytes in CARDS:
            if known in name:
                return _card(name, teraflops, gigabytes)
        return _card(f"{name}, whose speed is not known here and taken to be that of {PAPER.name}", 111, 768)
    count = cores()
    threads = min(resources.cpus_per_trial, count)
    at_once = min(resources.concurrent or count, max(1, count // threads))
    return Machine(
        f"this machine ({cpu()}, {count} core{'' if count == 1 else 's'}, {at_once} at a time)",
        product_rate() * threads * CPU_SHARE,
        CPU_BANDWIDTH,
        pass_seconds=CPU_PASS_SECONDS,
        weight_bytes=4.0,
        gpu=False,
        at_once=at_once,
    )


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
