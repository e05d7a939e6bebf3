"""Estimated against measured peak memory of a trial in a process of its own, on a CPU."""

from pathlib import Path

import pytest
import torch

from benchmarks.memory import trial
from benchmarks.memory_trial import make

SETTINGS = (
    "catalogue.datasets.long.max_code_tokens=32",
    "test.beams=4",
    "test.candidates=4",
    "test.decode_batch=4",
    "validation.em_items=4",
)


@pytest.mark.slow(minutes=1)
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are those of the process's whole life")
@pytest.mark.skipif(torch.cuda.is_available(), reason="benchmarks/memory.py measures on GPUs")
@pytest.mark.parametrize(("model", "technique"), [("llama-48m", "lora"), ("t5-50m", "full")])
def test_the_estimate_is_near_the_measured_peak(tmp_path: Path, model: str, technique: str) -> None:
    """Within 30 %, with what the process had before the model was loaded and without it: a CPU's heap has gaps."""
    make(model, str(tmp_path / model))
    found = trial(tmp_path / model, technique, SETTINGS, tmp_path)
    for phase in ("training", "decoding"):
        estimated, measured = found["estimated"][phase], found["measured"][phase]
        assert estimated == pytest.approx(measured, rel=0.3), phase
        bare = measured - found["framework"]
        assert bare > 100, phase
        assert estimated - found["framework_estimated"] == pytest.approx(bare, rel=0.3), phase
