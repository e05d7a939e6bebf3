"""The record of a sweep, and the order of what is left."""

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from raypeft.evaluation.jobs import Job
from raypeft.evaluation.pool import next_job
from raypeft.output.files import write_text
from raypeft.runs.folder import Run
from raypeft.runs.ledger import Ledger, remaining
from raypeft.runs.records import State
from raypeft.spec.plan import Cell
from raypeft.spec.resolve import resolve
from tests.said import message

LORA = Cell("tiny-decoder", "snippets", "lora")
POINT = {"target_modules": "attention", "r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "learning_rate": 0.0003}


def new_run(folder: Path, *settings: str) -> Run:
    resolved = resolve("quickstart", trials=2, settings=["techniques=[lora, ia3]", *settings])
    write_text(folder / "study.yaml", resolved.dump())
    return Run(folder)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return new_run(tmp_path)


def report(number: int, loss: float | None, em: float = 0.0, **further: Any) -> dict[str, Any]:
    return {
        "report": number,
        "validation_loss": loss,
        "em@10": em,
        "em@10_computed": True,
        "training_seconds": 2.0 * number,
        "evaluation_seconds": 1.0 * number,
        "peak_memory_mib": 100.0 + number,
        "training_memory_mib": 100.0 + number,
        "training_reserved_mib": None,
        "decoding_memory_mib": 90.0,
        "decoding_reserved_mib": None,
        "micro_batch": 4,
        "decode_batch": 16,
        "gradient_checkpointing": False,
        "trainable_parameters": 10,
        "parameters": 1000,
        **further,
    }


def test_a_report_is_recorded_once_also_by_a_later_process(run: Run) -> None:
    ledger, name = Ledger(run), LORA.trial_name(0)
    assert ledger.is_new(name, 0)
    ledger.record(name, LORA, 0, message(**report(0, 2.0)), POINT)
    ledger.record(name, LORA, 0, message(**report(1, 1.5)), POINT)
    later = Ledger(run)
    for known in (ledger, later):
        assert [known.is_new(name, number) for number in (-1, 0, 1, 2)] == [False, False, False, True]
        assert known.is_new(LORA.trial_name(1), 0)
        assert not known.is_new(LORA.trial_name(1), -1)
    assert later.history == ledger.history == list(run.reports())
    assert [(row.trial, row.cell, row.number, row.report) for row in later.history] == [
        ("tiny-decoder·lora·snippets·000", "tiny-decoder/snippets/lora", 0, 0),
        ("tiny-decoder·lora·snippets·000", "tiny-decoder/snippets/lora", 0, 1),
    ]


def test_the_end_of_a_trial_is_recorded_once(run: Run) -> None:
    ledger, name = Ledger(run), LORA.trial_name(0)
    for row in (report(0, 2.0, 1.0), report(1, 0.5, 30.0), report(2, 0.8, 40.0)):
        ledger.record(name, LORA, 0, message(**row), POINT)
    first = ledger.end(name, LORA, 0, POINT, State.STOPPED, reason="ASHA")
    assert ledger.end(name, LORA, 0, POINT, State.FINISHED) == first
    assert Ledger(run).end(name, LORA, 0, POINT, State.ERROR, error="again") == first
    assert list(run.trials()) == [first]
    assert {key: value for key, value in first.content().items() if key != "time"} == {
        "format": 1,
        "trial": "tiny-decoder·lora·snippets·000",
        "cell": "tiny-decoder/snippets/lora",
        "number": 0,
        "state": "stopped",
        "reason": "ASHA",
        "hyperparameters": POINT,
        "paper_point": True,
        "reports": 3,
        "best_report": 1,
        "best_loss": 0.5,
        "best_em@10": 30.0,
        "training_seconds": 4.0,
        "evaluation_seconds": 2.0,
        "peak_memory_mib": 102.0,
        "training_memory_mib": 102.0,
        "training_reserved_mib": None,
        "decoding_memory_mib": 90.0,
        "decoding_reserved_mib": None,
        "micro_batch": 4,
        "decode_batch": 16,
        "gradient_checkpointing": False,
        "trainable_parameters": 10,
        "parameters": 1000,
        "error": None,
    }


def test_the_papers_point_is_known_by_its_values(run: Run) -> None:
    ledger = Ledger(run)
    assert not ledger.end(LORA.trial_name(0), LORA, 0, {**POINT, "r": 8}, State.FINISHED).paper_point
    assert ledger.end(LORA.trial_name(1), LORA, 1, POINT, State.FINISHED).paper_point


def test_the_best_report_is_the_one_that_selection_would_take(tmp_path: Path) -> None:
    ledger, name = Ledger(new_run(tmp_path, "validation.select_by=em@10")), LORA.trial_name(0)
    for row in (report(0, 0.5, 1.0), report(1, 0.9, 30.0), report(2, 0.1, 30.0, **{"em@10_computed": False})):
        ledger.record(name, LORA, 0, message(**row), POINT)
    row = ledger.end(name, LORA, 0, POINT, State.FINISHED)
    assert (row.best_report, row.best_loss, row.best_em10) == (1, 0.9, 30.0)


def test_a_trial_without_a_loss_has_no_best(run: Run) -> None:
    ledger, name = Ledger(run), LORA.trial_name(0)
    ledger.record(name, LORA, 0, message(**report(0, None)), POINT)
    row = ledger.end(name, LORA, 0, POINT, State.OOM)
    assert (row.reports, row.best_report, row.best_loss, row.best_em10) == (0, None, None, None)
    assert row.training_seconds is None and row.parameters is None


def test_what_is_left_goes_in_rounds_with_the_cells_of_a_model_together(run: Run) -> None:
    assert [(cell.id, number) for cell, number in remaining(run.plan, Ledger(run))] == [
        ("tiny-decoder/snippets/lora", 0),
        ("tiny-decoder/snippets/ia3", 0),
        ("tiny-decoder/snippets/lora", 1),
        ("tiny-decoder/snippets/ia3", 1),
        ("tiny-encoder-decoder/snippets/lora", 0),
        ("tiny-encoder-decoder/snippets/ia3", 0),
        ("tiny-encoder-decoder/snippets/lora", 1),
        ("tiny-encoder-decoder/snippets/ia3", 1),
    ]


def test_each_base_is_loaded_once(tmp_path: Path) -> None:
    """A model that is quantised is another base: one worker after the other's trials, and jobs, counts the changes."""
    run = new_run(tmp_path, "techniques=[lora, qlora_8bit, ia3, qlora_4bit]", "icl={examples: [0, 1], seeds: [42]}")
    bases = [run.plan.base(cell) for cell, _ in remaining(run.plan, Ledger(run))]
    assert len(bases) == 16
    assert [base for base, _ in groupby(bases)] == [
        (model, quantization)
        for model in ("tiny-decoder", "tiny-encoder-decoder")
        for quantization in (None, "8bit", "4bit")
    ]
    waiting = [Job("test", cell) for cell in run.plan.cells] + [Job("icl", job) for job in run.plan.icl_jobs]
    loaded: list[Any] = []
    while waiting:
        job = next_job(run.plan, waiting, loaded[-1] if loaded else None, set())
        waiting.remove(job)
        loaded.append(run.plan.base(job.target))
    assert len(loaded) == 12 and len(list(groupby(loaded))) == 6


def test_trials_begun_go_first_and_ended_ones_not_at_all(run: Run) -> None:
    ledger = Ledger(run)
    t5 = Cell("tiny-encoder-decoder", "snippets", "ia3")
    ledger.record(t5.trial_name(1), t5, 1, message(**report(0, 2.0)), POINT)
    ledger.record(LORA.trial_name(1), LORA, 1, message(**report(0, 2.0)), POINT)
    ledger.record(LORA.trial_name(0), LORA, 0, message(**report(0, 2.0)), POINT)
    ledger.end(LORA.trial_name(0), LORA, 0, POINT, State.FINISHED)
    ledger.is_new(t5.trial_name(0), 0)
    for known in (ledger, Ledger(run)):
        assert [(cell.id, number) for cell, number in remaining(run.plan, known)] == [
            ("tiny-decoder/snippets/lora", 1),
            ("tiny-encoder-decoder/snippets/ia3", 1),
            ("tiny-decoder/snippets/ia3", 0),
            ("tiny-decoder/snippets/ia3", 1),
            ("tiny-encoder-decoder/snippets/lora", 0),
            ("tiny-encoder-decoder/snippets/ia3", 0),
            ("tiny-encoder-decoder/snippets/lora", 1),
        ]
