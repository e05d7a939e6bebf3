"""Numbers of a run against values worked out by hand from what the fixture writes."""

from collections.abc import Callable
from math import sqrt

import pytest

from benchmarks.recording import DATASET, DECODER, ENCODER_DECODER, Recorder, block
from raypeft.output.files import append_line, write_json
from raypeft.report.numbers.gather import gather
from raypeft.report.numbers.progress import standing
from raypeft.report.numbers.trials import read_trials
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell, IclJob


def test_every_cell_of_the_plan_has_a_row_with_its_reason(partial: Run) -> None:
    rows = {row.cell.id: (row.state, row.note) for row in gather(partial).cells}
    assert list(rows) == [
        "tiny-decoder/snippets/lora",
        "tiny-decoder/snippets/ia3",
        "tiny-decoder/snippets/prefix_tuning",
        "tiny-encoder-decoder/snippets/lora",
        "tiny-encoder-decoder/snippets/ia3",
        "tiny-encoder-decoder/snippets/prefix_tuning",
    ]
    assert rows["tiny-decoder/snippets/lora"] == ("tested", None)
    state, note = rows["tiny-decoder/snippets/prefix_tuning"]
    assert state == "test failed" and note is not None and note.startswith("RuntimeError: ")
    assert rows["tiny-encoder-decoder/snippets/lora"] == ("no usable trial", "all 3 trials ended as oom")
    assert rows["tiny-encoder-decoder/snippets/ia3"] == ("not begun", "no trial has reported yet")
    assert rows["tiny-encoder-decoder/snippets/prefix_tuning"] == (
        "searching",
        "1 of 3 trials ended (1 finished, 1 running)",
    )


def test_a_selected_cell_waits_for_its_test(begin: Callable[..., Recorder]) -> None:
    record = begin()
    cell = Cell(DECODER, DATASET, "lora")
    record.trial(cell, 0, {"r": 16}, [2.0, 1.0], 30.0)
    record.select(cell, 0, 1, 1.0, 30.0, {"r": 16})
    row = gather(record.run).cells[0]
    assert (row.state, row.note, row.selection.validation_loss) == ("selected", "not tested yet", 1.0)


def test_icl_has_mean_and_sample_standard_deviation(partial: Run) -> None:
    none, two = gather(partial).icl[:2]
    assert (none.examples, none.metrics["em@10"].mean, none.metrics["em@10"].sd) == (0, 10.0, None)
    # EM@10 of 12, 15 and 21: mean 16, squared deviations 16 + 1 + 25 over n - 1 = 2.
    assert two.metrics["em@10"].mean == 16.0
    assert two.metrics["em@10"].sd == pytest.approx(sqrt(21))
    assert (two.done, two.planned, two.note, two.best, none.best) == (3, 3, None, True, False)


def test_icl_says_which_seeds_are_missing_and_why(partial: Run) -> None:
    none, two = gather(partial).icl[2:]
    assert (two.done, two.planned) == (1, 3)
    assert two.note == "seed 2 failed: ValueError: long; not run yet: seed 3"
    assert two.errors == {2: "Traceback\nValueError: long"}
    assert none.best and not two.best


def test_difference_is_from_the_best_number_of_examples(partial: Run) -> None:
    numbers = gather(partial)
    assert [row.against_icl for row in numbers.cells[:3]] == [45.0 - 16.0, 36.25 - 16.0, None]
    decoder, encoder_decoder = numbers.pairs
    assert (decoder.difference, decoder.items) == (29.0, 160)
    assert encoder_decoder.difference is None
    assert encoder_decoder.note == "3 of 3 techniques without a test result; 2 of 4 ICL runs without a result"


def test_techniques_that_tie_are_both_best(begin: Callable[..., Recorder]) -> None:
    record = begin()
    for technique, em in (("lora", 40.0), ("ia3", 40.0), ("prefix_tuning", 39.375)):
        record.test(Cell(DECODER, DATASET, technique), block(1.0, em, 1.0, 1.0), [])
    assert [row.best for row in gather(record.run).cells] == [True, True, False, False, False, False]


def test_fewest_examples_win_a_tie(begin: Callable[..., Recorder]) -> None:
    record = begin("icl.examples=[3, 1]", "icl.seeds=[1]")
    for examples in (1, 3):
        record.icl(IclJob(DECODER, DATASET, examples, 1), block(1.0, 20.0, 1.0, 1.0))
    assert [row.examples for row in gather(record.run).icl if row.best] == [1]


def test_fewer_candidates_are_compared_by_the_largest_k_they_allow(begin: Callable[..., Recorder]) -> None:
    record = begin("test.beams=5", "test.candidates=5")
    metrics = {key: value for key, value in block(10.0, 0.0, 1.0, 1.0).items() if key != "em@10"}
    record.test(Cell(DECODER, DATASET, "lora"), metrics, [])
    numbers = gather(record.run)
    assert (numbers.metric, numbers.cells[0].metrics["em@5"], numbers.cells[0].best) == ("em@5", 12.0, True)


def test_running_trials_are_read_from_their_reports(partial: Run) -> None:
    trial = next(trial for trial in read_trials(partial) if trial.state == "running")
    assert trial.name == "tiny-encoder-decoder·prefix_tuning·snippets·001"
    assert (trial.reports, trial.best_loss, trial.best_report, trial.best_em) == (1, 2.2, 1, 2.5)


def test_a_report_said_again_after_an_interruption_counts_once(begin: Callable[..., Recorder]) -> None:
    record = begin()
    cell = Cell(DECODER, DATASET, "lora")
    record.trial(cell, 0, {}, [2.0, 1.5], 10.0, state=None)
    with record.run.reports_file.open("a", encoding="utf-8") as stream:
        stream.write('{"trial": "tiny-dec')
    record.trial(cell, 0, {}, [2.0, 1.5, 1.25], 10.0, state=None)
    (trial,) = read_trials(record.run)
    assert [(point.report, point.loss) for point in trial.curve] == [(0, 2.0), (1, 1.5), (2, 1.25)]


def test_a_trial_without_a_finite_loss_has_no_curve(begin: Callable[..., Recorder]) -> None:
    record = begin()
    cell = Cell(DECODER, DATASET, "lora")
    row = {"trial": cell.trial_name(0), "cell": cell.id, "number": 0, "report": 0, "epoch": 0.0, "step": 0}
    append_line(record.run.reports_file, {**row, "validation_loss": None, "best_loss": None, "end": "nan", "time": 1.0})
    (trial,) = read_trials(record.run)
    assert (trial.curve, trial.best_loss, trial.best_em) == ((), None, None)


@pytest.mark.parametrize(("pause", "left"), [(0.0, 20.0), (1000.0, 16.0)])
def test_time_left_goes_by_the_work_of_ended_trials(begin: Callable[..., Recorder], pause: float, left: float) -> None:
    record = begin(techniques=("lora",))
    # Six reports, two seconds apart: ten seconds of work; the pause takes the place of one gap and does not count.
    record.trial(Cell(DECODER, DATASET, "lora"), 0, {}, [3.0, 2.0, 1.5, 1.0], 10.0)
    assert standing(gather(record.run)).seconds_left is None
    record.clock += pause
    record.trial(Cell(ENCODER_DECODER, DATASET, "lora"), 0, {}, [3.0, 2.0], 10.0)
    # Two trials of 4.5 + 2.0 seconds and two of 1.5 + 1.0 wait: 18; 9 seconds of such work took ten, or eight, seconds.
    assert standing(gather(record.run)).seconds_left == pytest.approx(left)


def test_no_time_left_when_the_sweep_is_done(begin: Callable[..., Recorder]) -> None:
    record = begin(techniques=("lora",), trials=1)
    for model in (DECODER, ENCODER_DECODER):
        record.trial(Cell(model, DATASET, "lora"), 0, {}, [3.0, 2.0], 10.0)
    now = standing(gather(record.run))
    assert (now.seconds_left, now.estimate, now.trials_ended) == (None, "the sweep is done", 2)


def test_an_old_failure_gives_way_to_a_result(begin: Callable[..., Recorder]) -> None:
    record = begin("icl.examples=[0]", "icl.seeds=[1]")
    job, cell = IclJob(DECODER, DATASET, 0, 1), Cell(DECODER, DATASET, "lora")
    for path in (record.run.icl_file(job).with_suffix(".error.json"), record.run.cell_folder(cell) / "test.error.json"):
        write_json(path, {"error": "ValueError: x", "time": 1.0})
    record.icl(job, block(1.0, 20.0, 1.0, 1.0))
    record.test(cell, block(1.0, 20.0, 1.0, 1.0), [])
    numbers = gather(record.run)
    assert (numbers.icl[0].note, numbers.icl[0].errors, numbers.cells[0].state) == (None, {}, "tested")


def test_in_context_learning_that_is_left_out_says_why(begin: Callable[..., Recorder]) -> None:
    skip = f"icl.skip=[{{models: [{DECODER}], reason: too slow}}]"
    notes = {pair.model: pair.note for pair in gather(begin(skip, "icl.seeds=[1]", "icl.examples=[1]").run).pairs}
    assert notes == {
        DECODER: "3 of 3 techniques without a test result; no in-context learning planned: too slow",
        ENCODER_DECODER: "3 of 3 techniques without a test result; 1 of 1 ICL runs without a result",
    }
