"""What TensorBoard is given, read back from its event files."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from raypeft.output.files import write_text
from raypeft.runs.folder import Run
from raypeft.runs.ledger import Ledger
from raypeft.runs.records import State
from raypeft.spec.plan import Cell, Plan
from raypeft.sweep.tensorboard import TensorBoard
from tests.said import message

CELL = Cell("tiny-decoder", "snippets", "lora")
NAME = CELL.trial_name(1)
POINT = {"r": 16, "learning_rate": 0.0003, "use_dora": True, "bias": "none"}


def events(folder: Path) -> Iterator[Event]:
    """Events of the only event file of a run: records of length, its checksum, data, its checksum (TFRecord)."""
    (path,) = folder.iterdir()
    with path.open("rb") as stream:
        while head := stream.read(12):
            (length,) = struct.unpack("<Q", head[:8])
            event = Event()
            event.ParseFromString(stream.read(length))
            stream.read(4)
            yield event


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [
        (event.step, value.simple_value)
        for event in events(folder)
        for value in event.summary.value
        if value.tag == tag
    ]


def hyperparameters(folder: Path) -> list[HParamsPluginData]:
    found = []
    for event in events(folder):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "hparams":
                content = HParamsPluginData()
                content.ParseFromString(value.metadata.plugin_data.content)
                found.append(content)
    return found


def report(number: int, loss: float, **other: Any) -> dict[str, Any]:
    return {
        "report": number,
        "epoch": number / 5,
        "validation_loss": loss,
        "best_loss": loss,
        "em@10": 12.5,
        "em@10_computed": number != 1,
        "training_seconds": 1.0,
        "evaluation_seconds": 1.0,
        "items_per_second": None if number == 0 else 30.0,
        "peak_memory_mib": 500.0,
        "trainable_parameters": 100,
        "parameters": 1000,
        **other,
    }


@pytest.fixture
def run(tmp_path: Path, small_plan: Plan) -> Run:
    run = Run(tmp_path / "run")
    write_text(run.study_file, small_plan.resolved.dump())
    return run


class Execution:
    """One execution of a sweep."""

    def __init__(self, run: Run) -> None:
        self.ledger = Ledger(run)
        self.board = TensorBoard(run, self.ledger)

    def report(self, number: int, loss: float) -> None:
        self.board.reported(self.ledger.record(NAME, CELL, 1, message(**report(number, loss)), POINT))

    def end(self) -> None:
        self.board.ended(self.ledger.end(NAME, CELL, 1, POINT, State.FINISHED))


def test_a_trial_is_one_curve_across_executions(run: Run) -> None:
    first = Execution(run)
    first.report(0, 3.0)
    first.report(1, 2.0)
    again = Execution(run)
    again.report(2, 1.5)
    again.end()
    folder = run.tensorboard_folder / NAME
    assert [path.name for path in run.tensorboard_folder.iterdir()] == [NAME]
    assert scalars(folder, "validation_loss") == [(0, 3.0), (1, 2.0), (2, 1.5)]
    # carried forward at report 1, so not measured there
    assert scalars(folder, "em_at_10") == [(0, 12.5), (2, 12.5)]
    assert scalars(folder, "items_per_second") == [(1, 30.0), (2, 30.0)]


def test_hyperparameters_are_those_of_the_trial(run: Run) -> None:
    execution = Execution(run)
    execution.report(0, 3.0)
    execution.end()
    start, end = hyperparameters(run.tensorboard_folder / NAME)
    given = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.session_start_info.hparams.items()}
    assert given == {"model": "tiny-decoder", "dataset": "snippets", "technique": "lora", **POINT}
    assert end.session_end_info.status == 1


def test_a_trial_whose_end_was_not_recorded_is_completed(run: Run) -> None:
    Execution(run).report(0, 3.0)
    Execution(run).end()
    folder = run.tensorboard_folder / NAME
    assert scalars(folder, "validation_loss") == [(0, 3.0)]
    assert len(hyperparameters(folder)) == 2


def test_a_trial_without_a_report_leaves_nothing(run: Run) -> None:
    Execution(run).end()
    assert not run.tensorboard_folder.exists()
