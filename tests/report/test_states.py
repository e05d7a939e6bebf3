"""Every state that a trial can be in, through every table and figure."""

from collections.abc import Callable

import pytest

from benchmarks.recording import DATASET, DECODER, Recorder
from raypeft.report import write
from raypeft.report.figures.curves import _LOOKS
from raypeft.report.numbers.gather import gather
from raypeft.report.numbers.progress import standing
from raypeft.runs.records import FAILED, USABLE, State
from raypeft.spec.plan import Cell
from tests.conftest import Call, call

__all__ = ["call"]

ENDED = [*USABLE, *FAILED]


def test_every_state_is_drawn_and_counted(begin: Callable[..., Recorder], call: Call) -> None:
    record = begin("models=[tiny-decoder]", techniques=("lora",), trials=len(ENDED) + 1)
    cell, point = Cell(DECODER, DATASET, "lora"), {"learning_rate": 0.001}
    for number, state in enumerate(ENDED):
        record.trial(cell, number, point, [2.0, 1.5, 1.0 + number / 10], 10.0, state, reason=f"because {number}")
    record.trial(cell, len(ENDED), {}, [2.0, 1.9], 10.0, state=None)
    page = write(record.run).read_text(encoding="utf-8")
    expected = {**dict.fromkeys(ENDED, 1), State.RUNNING: 1}
    assert {trial.state for trial in gather(record.run).trials} == set(expected) == set(State) - {State.PAUSED}
    assert standing(gather(record.run)).trials == expected
    for name in ("status", "trials"):
        assert all(state in call(name, str(record.run.folder)).out for state in expected)
    curves = (record.run.report_folder / "figures" / f"loss--{DECODER}--{DATASET}--lora.svg").read_text()
    table = (record.run.report_folder / "tables" / "trials.csv").read_text()
    assert [state for state in expected if f">{state}<" not in curves] == []
    assert [state for state in expected if f",{state}," not in table or state not in page] == []


@pytest.mark.parametrize("state", State)
def test_every_state_has_its_look(state: State) -> None:
    assert len(_LOOKS[state]) == 3


@pytest.mark.parametrize("losses", [[0.0], [0.0, 0.0], [1e39, 1e38], [1e-300, 1.0]])
def test_any_loss_that_a_record_may_hold_is_drawn(begin: Callable[..., Recorder], losses: list[float]) -> None:
    record = begin("models=[tiny-decoder]", techniques=("lora",), trials=2)
    for number in range(2):
        record.trial(Cell(DECODER, DATASET, "lora"), number, {"learning_rate": 0.001}, losses[number:], 10.0)
    assert write(record.run).exists()
