"""Estimates of time and disk, against figures worked out by hand from the stated assumptions."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from raypeft.estimate.cost import Cost, Pace
from raypeft.runs.outlook import pace_of
from raypeft.runs.records import Report
from raypeft.spec.plan import Cell, IclJob, Plan
from raypeft.spec.resolve import resolve
from tests.conftest import WriteStudy

# a thousand million weights; a mean sequence has a third of 32 + 64 = 32 tokens
STUDY = """\
question: Which?
models: [model]
datasets: [data, both]
techniques: [full, lora, qlora_4bit]
catalogue:
  models: {model: {title: M, hub: a/b, parameters: 1000000000}}
  datasets:
    data: {title: D, hub: a/c, max_prompt_tokens: 32, max_code_tokens: 64}
    more: {title: E, hub: a/d, max_prompt_tokens: 32, max_code_tokens: 64}
    both: {title: B, join: [data, more], max_prompt_tokens: 32, max_code_tokens: 64}
search: {trials: 4}
icl: {examples: [1], seeds: [5]}
validation: {em_items: 16}
"""
ITEMS = {"data": {"train": 80, "validation": 16, "test": 40}}
FULL, LORA, QLORA = (Cell("model", "data", technique) for technique in ("full", "lora", "qlora_4bit"))

# 2 * 1e9 * tokens / (111e12 * 0.35) seconds of arithmetic, 2 * 1e9 / (768e9 * 0.7) = 0.00372 of reading weights
# a step of 8 * 32 = 256 tokens takes 0.01318, decoding a token of 16 * 10 beams 0.00824, each 0.025 more for kernels
FORWARD, DECODE = 0.03818, 0.03324


def cost(write_study: WriteStudy, *settings: str, pace: Pace | None = None) -> Cost:
    return Cost(Plan(resolve(write_study(STUDY), settings=settings)), ITEMS, pace or Pace())


def test_training(write_study: WriteStudy) -> None:
    """50 steps, each a forward and a backward pass, which is as long with an adapter and twice in full fine-tuning."""
    estimate = cost(write_study)
    assert estimate.training_seconds(LORA) == pytest.approx(50 * 2 * FORWARD, rel=1e-3)
    assert estimate.training_seconds(FULL) == pytest.approx(50 * 3 * FORWARD, rel=1e-3)
    assert estimate.training_seconds(QLORA) == pytest.approx(50 * 2 * (0.025 + 1.5 * 0.01318), rel=1e-3)
    again = cost(write_study, "training.gradient_checkpointing=true", "training.micro_batch=4")
    assert again.training_seconds(LORA) == pytest.approx(50 * 2 * 3 * (0.025 + 0.00659), rel=1e-3)


def test_where_a_pass_reads_longer_than_it_computes(write_study: WriteStudy) -> None:
    estimate = cost(write_study, "training.batch=1")
    # 32 tokens: 0.00165 of arithmetic, 0.00372 of reading
    assert estimate.training_seconds(LORA) == pytest.approx(400 * 2 * (0.025 + 0.00372), rel=1e-3)
    # a quarter of the bytes, 1.5 times the arithmetic
    assert estimate.training_seconds(QLORA) == pytest.approx(400 * 2 * (0.025 + 0.00247), rel=1e-3)


def test_decoding(write_study: WriteStudy) -> None:
    """40 items in 3 batches, each read once and decoded for 0.8 * 64 tokens."""
    estimate = cost(write_study)
    reading, two_in_the_prompt = 0.025 + 0.02636, 0.025 + 0.05272  # 16 * 32 tokens, twice as many with an example
    assert estimate.test_seconds(LORA, "data") == pytest.approx(3 * (reading + 51.2 * DECODE), rel=1e-3)
    assert estimate.icl_seconds(IclJob("model", "data", 1, 5)) == pytest.approx(
        3 * (two_in_the_prompt + 51.2 * DECODE), rel=1e-3
    )


def test_a_mean_trial_goes_as_far_as_early_stopping_lets_it(write_study: WriteStudy) -> None:
    assert cost(write_study).reports == pytest.approx(5 + 10 / 3 + 10 / 9)
    assert cost(write_study, "early_stopping.grace=2", "early_stopping.factor=4").reports == pytest.approx(
        2 + 6 / 4 + 17 / 16
    )
    assert cost(write_study, "early_stopping=null").reports == 25
    assert cost(write_study, "mode=paper").reports == 25


def test_a_trial_is_training_validation_losses_and_em(write_study: WriteStudy) -> None:
    estimate = cost(write_study)
    # 26 losses over 16 items; EM@10 at half of the reports, both rungs, before training and at the end
    loss, em = 0.025 + 0.02636, 0.025 + 0.02636 + 51.2 * DECODE
    full = 50 * 2 * FORWARD + 26 * loss + 16.5 * em
    assert estimate.trial_seconds(LORA, 25) == pytest.approx(full, rel=1e-3)
    expected = 50 * 2 * FORWARD * 9.4444 / 25 + 10.4444 * loss + 8.7222 * em
    assert estimate.trial_seconds(LORA) == pytest.approx(expected, rel=1e-3)
    assert estimate.cell_seconds(LORA) == pytest.approx(4 * expected + estimate.test_seconds(LORA, "data"), rel=1e-3)


def test_items_are_counted_as_the_study_uses_them(write_study: WriteStudy) -> None:
    estimate = cost(write_study, "data.train=30")
    assert [estimate.count("data", split) for split in ("train", "validation", "test")] == [30, 16, 40]
    # one that does not say counts as 2000 / 200 / 500, a joint one as its parts together
    assert [cost(write_study).count("both", split) for split in ("train", "validation", "test")] == [2080, 216, 540]
    assert estimate.count("both", "train") == 60


def test_disk(write_study: WriteStudy) -> None:
    """Two checkpoints of each of four trials and the selected weights, in fp32: all of them or a hundredth."""
    plan = Plan(resolve(write_study(STUDY), datasets=["data"], techniques=["full"], settings=["icl=null"]))
    predictions = 40 * (500 + 10 * 3 * 64)
    assert Cost(plan, ITEMS).run_bytes() == 9 * 4e9 + predictions
    plan = Plan(resolve(write_study(STUDY), datasets=["data"], techniques=["lora"], settings=["mode=paper"]))
    assert Cost(plan, ITEMS).run_bytes() == 3 * 4e7 + 2 * predictions
    assert Cost(plan, ITEMS).download_bytes("model") == 2e9


def test_a_model_in_a_folder_has_the_weights_of_its_shape(write_study: WriteStudy, tmp_path: Path) -> None:
    """Two Llama layers of width 8 with a feed-forward of 16, 10 tokens in and out; before, a thousand million."""
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 10}
    config = {"model_type": "llama", "hidden_size": 8, "intermediate_size": 16, **sizes}
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    settings = [f"models=['{tmp_path / 'small'}']", "mode=paper"]
    plan = Plan(resolve(write_study(STUDY), datasets=["data"], techniques=["full"], settings=settings))
    weights = 2 * (4 * 8 * 8 + 3 * 8 * 16) + 2 * 10 * 8
    assert Cost(plan, ITEMS).run_bytes() == 3 * 4 * weights + 2 * 40 * (500 + 10 * 3 * 64)


def test_disk_where_only_the_best_checkpoints_are_kept(write_study: WriteStudy) -> None:
    """The selected weights and one checkpoint, and two of the trial that runs."""
    settings = ["icl=null", "resources.keep_checkpoints=best"]
    plan = Plan(resolve(write_study(STUDY), datasets=["data"], techniques=["full", "lora"], settings=settings))
    assert Cost(plan, ITEMS).run_bytes() == 2 * 4e9 + 2 * 4e7 + 2 * 4e9 + 2 * 40 * (500 + 10 * 3 * 64)


def reports(cell: Cell, last: int, training: float, evaluation: float) -> Iterator[Report]:
    """A trial that computed EM@10 at every other report, whose clocks stand at the given seconds in the end."""
    for report in range(last + 1):
        yield Report(
            trial=cell.trial_name(0),
            cell=cell.id,
            number=0,
            report=report,
            validation_loss=1.0,
            em10_computed=report % 2 == 0,
            training_seconds=training * report / last,
            evaluation_seconds=evaluation * (report + 1) / (last + 1),
        )


def test_measured_trials_correct_the_estimate(write_study: WriteStudy) -> None:
    estimate = cost(write_study)
    # 10 of 25 reports should have trained for 1.527 s and evaluated for 11 losses and 6 EM@10
    training, evaluation = 20 * 2 * FORWARD, 11 * 0.05136 + 6 * (0.05136 + 51.2 * DECODE)
    pace = pace_of(estimate, reports(LORA, 10, 3 * training, 2 * evaluation))
    assert pace.trials == 1
    assert pace.training == {("model", "lora"): pytest.approx(3, rel=1e-3)}
    assert pace.evaluation == {("model", "lora"): pytest.approx(2, rel=1e-3)}
    corrected = cost(write_study, pace=pace)
    assert corrected.test_seconds(LORA, "data") == pytest.approx(2 * estimate.test_seconds(LORA, "data"), rel=1e-3)
    # what has no measured trial of its own goes by the model's others
    full = 3 * estimate.training_seconds(FULL) + 2 * (26 * 0.05136 + 16.5 * (0.05136 + 51.2 * DECODE))
    assert corrected.trial_seconds(FULL, 25) == pytest.approx(full, rel=1e-3)


def test_a_run_without_reports_corrects_nothing(write_study: WriteStudy) -> None:
    assert pace_of(cost(write_study), []) == Pace()
    first = next(reports(LORA, 10, 1.0, 1.0))
    assert pace_of(cost(write_study), [first]) == Pace()
    assert Pace.of({("a", "x"): 2.0, ("a", "y"): 4.0, ("b", "x"): 6.0}, "a", None) == 3.0
    assert Pace.of({("a", "x"): 2.0, ("b", "x"): 6.0}, "c", "x") == 4.0


def test_the_papers_first_question_is_of_the_order_that_the_paper_could_afford() -> None:
    """One GPU within weeks: the assumptions may be off, but not by an order of magnitude."""
    plan = Plan(resolve("rq1"))
    items = {name: entry.expected_items for name, entry in plan.resolved.datasets.items()}
    hours = sum(Cost(plan, items).cell_seconds(cell) for cell in plan.cells) / 3600
    assert 24 < hours < 24 * 28
