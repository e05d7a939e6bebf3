"""What hours are estimated for, and how fast it is taken to be."""

import time
from pathlib import Path

import pytest

from raypeft.estimate import machines
from raypeft.estimate.machines import PAPER, machine_here
from raypeft.spec.sections import Resources


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """NVIDIA's tool, to be written by the test."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path / "nvidia-smi"


@pytest.mark.parametrize(
    ("card", "arithmetic", "reading"),
    [
        ("NVIDIA RTX A5000", 111e12 * 0.35, 768e9 * 0.7),
        ("NVIDIA L40S", 362e12 * 0.35, 864e9 * 0.7),
        ("Tesla T4", 65e12 * 0.35, 320e9 * 0.7),
    ],
)
def test_a_known_card(lists: Path, card: str, arithmetic: float, reading: float) -> None:
    lists.write_text(f"#!/bin/sh\necho '{card}, 24564 MiB'\n")
    lists.chmod(0o755)
    found = machine_here(Resources())
    assert (found.name, found.gpu) == (card, True)
    assert (found.arithmetic, found.reading) == (pytest.approx(arithmetic), pytest.approx(reading))
    assert machine_here(Resources(gpus_per_trial=0)).gpu is False
    assert (machine_here(Resources()) == PAPER) == (card == PAPER.name)


def test_an_unknown_card_is_said_to_be_one(lists: Path) -> None:
    lists.write_text("#!/bin/sh\necho 'Marvel 9000, 24564 MiB'\n")
    lists.chmod(0o755)
    found = machine_here(Resources())
    assert found.name == "Marvel 9000, whose speed is not known here and taken to be that of NVIDIA RTX A5000"
    assert (found.arithmetic, found.reading) == (PAPER.arithmetic, PAPER.reading)


@pytest.mark.parametrize(
    ("resources", "threads", "at_once"),
    [
        (Resources(), 1, 8),
        (Resources(cpus_per_trial=3), 3, 2),
        (Resources(cpus_per_trial=99), 8, 1),
        (Resources(cpus_per_trial=2, concurrent=2), 2, 2),
        (Resources(gpu_memory_gb=24), 1, 8),
    ],
)
def test_a_processor_is_measured(
    monkeypatch: pytest.MonkeyPatch, resources: Resources, threads: int, at_once: int
) -> None:
    monkeypatch.setenv("PATH", "")
    for name, known in (("cpu", "A Processor"), ("cores", 8), ("product_rate", 100e9)):
        monkeypatch.setattr(machines, name, lambda known=known: known)
    found = machine_here(resources)
    assert found.name == f"this machine (A Processor, 8 cores, {at_once} at a time)"
    assert (found.arithmetic, found.weight_bytes) == (pytest.approx(threads * 55e9), 4.0)
    assert (found.gpu, found.at_once) == (False, at_once)


def test_the_measurement_is_short_and_of_this_machine() -> None:
    started = time.monotonic()
    rate = machines.product_rate()
    assert 1e9 < rate < 1e12 and rate != machines.USUAL_RATE
    assert time.monotonic() - started < 5, "a third of a second on a machine that has nothing else to do"
