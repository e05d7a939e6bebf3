"""Evidence from items whose outcome is known, against probabilities worked out by hand."""

from collections.abc import Callable
from math import comb
from pathlib import Path

import pytest

from benchmarks.recording import DATASET, DECODER, Recorder, predictions, record_compared, score_rows
from raypeft.metrics.items import ItemScores, measure
from raypeft.output.files import write_lines
from raypeft.report.answer import answer
from raypeft.report.numbers.evidence import Comparison
from raypeft.report.numbers.gather import Numbers, gather
from raypeft.report.numbers.icl import IclRow
from raypeft.report.numbers.scores import read_scores
from raypeft.report.numbers.weighing import weigh
from raypeft.runs.folder import Run, scores_file
from raypeft.spec.plan import Cell, IclJob


@pytest.fixture(scope="module")
def numbers(compared: Run) -> Numbers:
    return weigh(gather(compared))


def find(numbers: Numbers, metric: str, first: str, second: str | int) -> Comparison:
    (found,) = (
        one
        for one in numbers.evidence.comparisons
        if (one.metric, one.first.cell.technique, _name(one)) == (metric, first, second)
    )
    return found


def _name(found: Comparison) -> str | int:
    return found.second.examples if isinstance(found.second, IclRow) else found.second.cell.technique


def two_tails(n: int, least: int) -> float:
    return min(1.0, 2 * sum(comb(n, i) for i in range(least + 1)) / 2**n)


def test_techniques_are_compared_on_the_items_that_tell_them_apart(numbers: Numbers) -> None:
    # LoRA has items 0 to 29, IA3 has 24 to 35: 24 for the first alone, 6 for the second alone.
    found = find(numbers, "em@10", "lora", "ia3")
    assert found.p == pytest.approx(two_tails(30, 6))
    assert (found.difference, found.effect, found.items) == (pytest.approx(45.0), 4.0, 40)
    assert found.interval is not None and 15 < found.interval.low < 45 < found.interval.high < 75
    # Two items for LoRA alone, none for prefix tuning alone.
    found = find(numbers, "em@10", "lora", "prefix_tuning")
    assert (found.p, found.effect, found.supported) == (pytest.approx(0.5), 2.5 / 0.5, False)


def test_a_difference_from_icl_has_to_show_against_every_seed(numbers: Numbers) -> None:
    # The seeds leave LoRA 20, 18 and 22 items of its own and have none that LoRA has not.
    found = find(numbers, "em@10", "lora", 2)
    assert found.p == pytest.approx(2 / 2**18)
    assert found.effect == 41.0  # the median of 41, 37 and 45, half an item added to both sides
    assert found.difference == pytest.approx(75.0 - 25.0)


def test_seeds_that_disagree_support_nothing(begin: Callable[..., Recorder]) -> None:
    record = begin("icl.examples=[1]", "icl.seeds=[1, 2]", "models=[tiny-decoder]", techniques=("lora",))
    rows = predictions(range(20))
    record.test(Cell(DECODER, DATASET, "lora"), score_rows(rows), rows)
    for seed, right in ((1, range(0)), (2, range(40))):
        rows = predictions(right)
        job = IclJob(DECODER, DATASET, 1, seed)
        write_lines(record.run.icl_file(job).with_suffix(".jsonl"), rows)
        record.icl(job, score_rows(rows))
    for found in weigh(gather(record.run)).evidence.comparisons:
        assert (found.p, found.supported) == (1.0, False)


def test_all_comparisons_of_a_metric_are_one_family(numbers: Numbers) -> None:
    for metric in ("em@10", "codebleu"):
        family = sorted((one for one in numbers.evidence.comparisons if one.metric == metric), key=lambda one: one.p)
        assert len(family) == 3 + 3 * 2
        corrected = 0.0
        for place, one in enumerate(family):
            corrected = max(corrected, min(1.0, one.p * (9 - place)))
            assert one.corrected == pytest.approx(corrected)


def test_codebleu_is_compared_too(numbers: Numbers) -> None:
    found = find(numbers, "codebleu", "lora", "ia3")
    lora, ia3, _ = numbers.cells
    assert found.difference == pytest.approx((lora.metrics["codebleu"] or 0) - (ia3.metrics["codebleu"] or 0))
    # Every item that is not right is equally wrong; ranks of 18 more items stand on LoRA's side.
    assert found.supported and 0 < found.effect < 1


def test_intervals_hold_the_metrics(numbers: Numbers) -> None:
    for row in numbers.cells:
        for metric in ("em@1", "em@10", "em_ast@1", "codebleu", "codebleu_flat", "chrf"):
            interval, value = numbers.evidence.interval(row, metric), row.metrics[metric]
            assert interval is not None and value is not None and interval.low < value < interval.high
    none, two = numbers.icl
    # Not one of 40 items: the upper bound solves (1 - p)^40 = 0.025.
    found = numbers.evidence.interval(none, "em@10")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.0, 100 * (1 - 0.025 ** (1 / 40))))
    found = numbers.evidence.interval(two, "em@10")
    assert found is not None and found.low < two.metrics["em@10"].mean < found.high


def test_a_comparison_is_read_from_either_side(numbers: Numbers) -> None:
    lora, ia3, _ = numbers.cells
    there, back = (numbers.evidence.between(one, other, "em@10") for one, other in ((lora, ia3), (ia3, lora)))
    assert there is not None and back is not None and there.interval is not None and back.interval is not None
    assert (back.first, back.second, back.difference, back.effect) == (ia3, lora, -there.difference, 0.25)
    assert (back.interval.low, back.interval.high) == (-there.interval.high, -there.interval.low)


def test_the_answer_claims_what_is_supported(numbers: Numbers) -> None:
    assert answer(numbers) == [
        "On the test items, the highest EM@10 was that of LoRA for Tiny decoder on Snippets (75.0 %, not told apart "
        "from Prefix tuning, but above the others).",
        "The best technique's EM@10 was above that of in-context learning at its best number of examples for Tiny "
        "decoder on Snippets (+50.0 points, 2 examples); this goes by 9 paired tests on 40 test items, at 5 % after "
        "Holm's correction for their number.",
    ]


def test_other_items_are_not_compared(begin: Callable[..., Recorder]) -> None:
    record = begin("models=[tiny-decoder]", techniques=("lora", "ia3"))
    for technique, rows in (("lora", predictions(range(20))), ("ia3", predictions(range(5), items=30))):
        record.test(Cell(DECODER, DATASET, technique), score_rows(rows), rows)
    evidence = weigh(gather(record.run)).evidence
    assert len(evidence.intervals) == 2 and not evidence.comparisons


def test_scores_come_from_the_test_or_are_computed_once(tmp_path: Path) -> None:
    run = record_compared(tmp_path / "run")
    file = run.predictions_file(Cell(DECODER, DATASET, "lora"))
    kept = run.report_folder / "scores" / "cells" / DECODER / DATASET / "lora" / "predictions.items.npz"
    computed = read_scores(run, file)
    assert computed is not None and kept.exists() and ItemScores.load(kept).block() == computed.block()
    measure(["a"], ["x"], [["x"]]).save(kept)
    cached = read_scores(run, file)
    assert cached is not None and cached.ids == ("a",)
    kept.write_bytes(b"damaged")
    repaired = read_scores(run, file)
    assert repaired is not None and len(repaired) == 40
    measure(["b"], ["x"], [["x"]]).save(scores_file(file))
    written = read_scores(run, file)
    assert written is not None and written.ids == ("b",)
    assert read_scores(run, run.folder / "missing.jsonl") is None
