"""A run folder with hand-chosen numbers: cells that are tested, failed, out of memory, under way and not begun."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.recording import (
    DATASET,
    DECODER,
    ENCODER_DECODER,
    HOSTILE,
    LORA_LOSSES,
    LORA_POINTS,
    Recorder,
    block,
    prediction,
    record_compared,
    start,
)
from raypeft.output.files import write_json
from raypeft.report import write
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell, IclJob


@pytest.fixture
def empty(tmp_path: Path) -> Run:
    """A run that has only been planned."""
    return start(tmp_path / "run")


@pytest.fixture
def begin(tmp_path: Path) -> Callable[..., Recorder]:
    """Starts a run with the given settings and returns its recorder."""
    return lambda *settings, **kwargs: Recorder(start(tmp_path / "run", *settings, **kwargs))


@pytest.fixture
def partial(tmp_path: Path) -> Run:
    """A run with every state a cell can be in."""
    return record_partial(tmp_path / "run")


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Such a run with its report, to be read only."""
    run = record_partial(tmp_path_factory.mktemp("reported") / "run")
    write(run)
    return run


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with predictions to compare, and its report, to be read only."""
    run = record_compared(tmp_path_factory.mktemp("compared") / "run")
    write(run)
    return run


def record_partial(folder: Path) -> Run:
    run = start(folder, "icl.examples=[0, 2]", "icl.seeds=[1, 2, 3]")
    record = Recorder(run)
    lora, ia3, prefix = (Cell(DECODER, DATASET, technique) for technique in ("lora", "ia3", "prefix_tuning"))
    record.trial(lora, 0, LORA_POINTS[0], LORA_LOSSES[0], 40.0)
    reason = "stopped by ASHA at report 5: 1.75 is not among the best 1/3"
    record.trial(lora, 1, LORA_POINTS[1], LORA_LOSSES[1], 10.0, "stopped", reason)
    record.trial(lora, 2, LORA_POINTS[2], LORA_LOSSES[2], 45.0)
    record.select(lora, 2, 3, 0.75, 45.0, LORA_POINTS[2])
    record.test(lora, block(30.0, 45.0, 62.5, 60.0), [prediction(number) for number in range(25)])
    for number, rate in enumerate((0.0003, 0.003, 0.03)):
        record.trial(ia3, number, {"learning_rate": rate}, [2.0, 1.9, 1.8], 20.0)
    record.select(ia3, 2, 2, 1.8, 20.0, {"learning_rate": 0.03})
    record.test(ia3, block(20.0, 36.25, 55.0, 54.0), [])
    for number in range(3):
        record.trial(prefix, number, {"num_virtual_tokens": 20, "learning_rate": 0.03}, [3.0, 2.5], 5.0)
    record.select(prefix, 0, 1, 2.5, 5.0, {"num_virtual_tokens": 20, "learning_rate": 0.03})
    write_json(
        run.cell_folder(prefix) / "test.error.json",
        {"error": f"Traceback (most recent call last):\nRuntimeError: {HOSTILE}", "time": 1.0},
    )
    other_lora, other_prefix = (Cell(ENCODER_DECODER, DATASET, technique) for technique in ("lora", "prefix_tuning"))
    for number in range(3):
        record.trial(other_lora, number, {"r": 64}, [], 0.0, "oom", error="torch.OutOfMemoryError: tried 2 GiB")
    write_json(
        run.cell_folder(other_lora) / "selection.json",
        {"cell": other_lora.id, "trial": None, "reason": "all 3 trials ended as oom", "trials": {"oom": 3}},
    )
    record.trial(other_prefix, 0, {"num_virtual_tokens": 5, "learning_rate": 0.01}, [3.0, 2.0, 1.5], 7.5)
    record.trial(other_prefix, 1, {}, [3.0, 2.2], 2.5, state=None)
    record.icl(IclJob(DECODER, DATASET, 0, 1), block(5.0, 10.0, 20.0, 19.0))
    for seed, em10 in ((1, 12.0), (2, 15.0), (3, 21.0)):
        record.icl(IclJob(DECODER, DATASET, 2, seed), block(8.0, em10, 25.0, 24.0))
    record.icl(IclJob(ENCODER_DECODER, DATASET, 0, 1), block(2.5, 8.75, 15.0, 14.0))
    record.icl(IclJob(ENCODER_DECODER, DATASET, 2, 1), block(1.25, 7.5, 15.0, 14.0))
    failed = IclJob(ENCODER_DECODER, DATASET, 2, 2)
    write_json(run.icl_file(failed).with_suffix(".error.json"), {"error": "Traceback\nValueError: long", "time": 1.0})
    write_json(run.manifest_file, {"raypeft": "0.1.0", "versions": {"torch": "2.13.0"}, "gpus": [], "cpu": HOSTILE})
    return run
