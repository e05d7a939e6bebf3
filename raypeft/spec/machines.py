"""The machines that hours are estimated for: the paper's card, the cards that are here, or this machine's processor."""

from dataclasses import dataclass

from raypeft import hardware
from raypeft.spec.footprint import device_of
from raypeft.spec.sections import Resources

ARITHMETIC_SHARE, BANDWIDTH_SHARE = 0.35, 0.7  # what training and decoding with PyTorch reach on a GPU
PASS_SECONDS = 0.025  # launching the kernels of one pass
CPU_SHARE = 0.55  # of the measured product's speed, what training and decoding reach
CPU_BANDWIDTH = 10e9  # bytes a second that one trial reads
CPU_PASS_SECONDS = 0.02


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
    if device_of(resources) == "gpu" and (cards := hardware.listed_gpus()):
        name = cards[0].partition(",")[0]
        for known, teraflops, gigabytes in CARDS:
            if known in name:
                return _card(name, teraflops, gigabytes)
        return _card(f"{name}, whose speed is not known here and taken to be that of {PAPER.name}", 111, 768)
    cores = hardware.cores()
    threads = min(resources.cpus_per_trial, cores)
    at_once = min(resources.concurrent or cores, max(1, cores // threads))
    return Machine(
        f"this machine ({hardware.cpu()}, {cores} core{'' if cores == 1 else 's'}, {at_once} at a time)",
        hardware.product_rate() * threads * CPU_SHARE,
        CPU_BANDWIDTH,
        pass_seconds=CPU_PASS_SECONDS,
        weight_bytes=4.0,
        gpu=False,
        at_once=at_once,
    )
