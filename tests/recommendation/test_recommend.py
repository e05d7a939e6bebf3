"""Recommendations from hand-chosen results: limits, Pareto front, and the wording of what the items support."""

import json
from collections.abc import Callable

import pytest

from benchmarks.recording import DATASET, DECODER, ENCODER_DECODER, LORA_POINTS, Recorder, block
from raypeft.output.files import read_json, write_json
from raypeft.recommendation.candidates import Budget, Candidate, pareto_front, peak_memory
from raypeft.recommendation.choice import Recommendation, recommend
from raypeft.recommendation.wording import caveats, confidence
from raypeft.report.numbers.gather import gather
from raypeft.runs.folder import Run
from raypeft.runs.records import Memory
from raypeft.spec.plan import Cell, IclJob
from tests.conftest import Call, call

__all__ = ["call"]

ITEMS = 30
LORA, IA3, PREFIX = (Cell(DECODER, DATASET, technique) for technique in ("lora", "ia3", "prefix_tuning"))
OTHER_LORA = Cell(ENCODER_DECODER, DATASET, "lora")


def predictions(hits: int) -> list[dict[str, object]]:
    """Items of which the first `hits` have their reference as fifth candidate."""
    return [
        {
            "id": str(number),
            "intent": f"intent {number}",
            "prompt": "",
            "reference": f"answer({number})",
            "candidates": [f"guess({number}, {rank})" for rank in range(4)]
            + [f"answer({number})" if number < hits else "guess()"],
            "scores": [-1.0, -2.0, -3.0, -4.0, -5.0],
        }
        for number in range(ITEMS)
    ]


def enter(record: Recorder, cell: Cell, hits: int, memory: float, seconds: float, trainable: int) -> None:
    """A cell whose selected trial, number 2, has these results and costs."""
    for number, point in enumerate(LORA_POINTS):
        record.trial(cell, number, point, [2.0, 1.5 - number / 10], 10.0)
    record.select(cell, 2, 1, 1.3, 10.0, LORA_POINTS[2])
    path = record.run.cell_folder(cell) / "selection.json"
    costs = {"peak_memory_mib": memory, "training_seconds": seconds, "trainable_parameters": trainable}
    write_json(path, read_json(path) | costs)
    record.test(cell, block(0.0, 100 * hits / ITEMS, 50.0, 50.0, ITEMS), predictions(hits))


@pytest.fixture
def run(begin: Callable[..., Recorder]) -> Run:
    """LoRA 20 of 30 with much memory, IA3 19 with little, prefix tuning 10; LoRA on the other model 19, slow."""
    record = begin("icl.examples=[2]", "icl.seeds=[1]")
    enter(record, LORA, 20, 3000.0, 60.0, 9000)
    enter(record, IA3, 19, 1000.0, 90.0, 500)
    enter(record, PREFIX, 10, 1100.0, 95.0, 600)
    enter(record, OTHER_LORA, 19, 1500.0, 7200.0, 9000)
    record.icl(IclJob(DECODER, DATASET, 2, 1), block(0.0, 40.0, 30.0, 30.0, ITEMS))
    write_json(record.run.manifest_file, {"gpus": [{"name": "GPU"}]})
    return record.run


def only(run: Run, limits: Budget, **wanted: str) -> Recommendation:
    (found,) = recommend(gather(run), limits, **wanted)
    return found


def cells(found: Recommendation) -> list[Cell]:
    assert found.best is not None
    return [found.best.row.cell, *(rival.candidate.row.cell for rival in found.rivals)]


def test_without_limits_the_best_comes_first_over_all_models(run: Run) -> None:
    found = only(run, Budget())
    assert cells(found) == [LORA, IA3, OTHER_LORA, PREFIX]
    assert found.items == ITEMS and found.best is not None and found.best.value == pytest.approx(100 * 20 / 30)


def test_rivals_are_tested_on_the_same_items(run: Run) -> None:
    """McNemar by hand: LoRA alone has 1, 1 and 10 items, no rival has one it has not: p 1, 1 and 2 / 2^10, times 3."""
    found = only(run, Budget())
    assert [rival.p for rival in found.rivals] == pytest.approx([1.0, 1.0, 3 * 2 / 2**10])
    assert [rival.is_worse for rival in found.rivals] == [False, False, True]
    assert [rival.difference for rival in found.rivals] == pytest.approx([100 / 30, 100 / 30, 1000 / 30])
    interval = found.rivals[-1].interval
    assert interval is not None and 10 < interval.low < 1000 / 30 < interval.high < 60


def test_what_needs_more_memory_is_left_out_with_what_would_fit(run: Run) -> None:
    """3,000 MiB and 512 of CUDA's own do not fit into 3 GiB; the trials' 512 and 512 do."""
    found = only(run, Budget(gpu_memory_gib=3), model=DECODER)
    assert cells(found) == [IA3, PREFIX]
    assert found.left_out == [
        "tiny-decoder/snippets/lora: needs 3,512 MiB; with r = 64, lora_alpha = 128, lora_dropout = 0.1, "
        "learning_rate = 0.002 it would fit (validation loss 1.300), but that is not tested"
    ]
    assert LORA in cells(only(run, Budget(gpu_memory_gib=3512 / 1024), model=DECODER))


def test_what_trains_longer_is_left_out(run: Run) -> None:
    found = only(run, Budget(hours=1.5), model=ENCODER_DECODER)
    assert found.best is None
    assert found.left_out[0].startswith("tiny-encoder-decoder/snippets/lora: trains for 2 h")
    assert found.left_out[1] == "tiny-encoder-decoder/snippets/ia3: not begun, no trial has reported yet"


def test_the_pareto_front(run: Run) -> None:
    """Prefix tuning is worse than IA3 in everything; the other LoRA trains so long that IA3 beats it in everything."""
    assert only(run, Budget()).front == {LORA.id, IA3.id}


def candidate(run: Run, value: float, memory: float | None, seconds: float = 1.0) -> Candidate:
    return Candidate(gather(run).cells[0], value, memory, seconds, 100)


def test_equals_are_all_on_the_front_and_unmeasured_memory_is_the_most(run: Run) -> None:
    same = [candidate(run, 50.0, 100.0), candidate(run, 50.0, 100.0)]
    assert pareto_front([*same, candidate(run, 50.0, None)]) == same


def test_reserved_memory_counts_where_it_is_known() -> None:
    measured = Memory(peak_memory_mib=100.0, training_reserved_mib=150.0, decoding_reserved_mib=None)
    assert peak_memory(measured, on_gpu=False) == 150.0
    assert peak_memory(measured, on_gpu=True) == 662.0
    assert peak_memory(Memory(peak_memory_mib=None), on_gpu=True) is None


def test_a_lead_that_is_not_supported_is_not_claimed(run: Run) -> None:
    lines = confidence(gather(run), only(run, Budget(), model=DECODER))
    assert "3.3 points above that of the runner-up IA3 on Tiny decoder" in lines[0]
    assert "p = 1.000, corrected by Holm for 2 comparisons" in lines[0]
    assert lines[0].endswith("That supports no difference: IA3 on Tiny decoder may do as well.")
    assert lines[1] == "Of what may do as well, IA3 on Tiny decoder takes 56.9 % less memory."
    assert "with 2 examples on Tiny decoder reaches 40.0 % without training" in lines[2]


def test_a_supported_lead_is_claimed(begin: Callable[..., Recorder]) -> None:
    record = begin("icl=null")
    enter(record, LORA, 20, 3000.0, 60.0, 9000)
    enter(record, PREFIX, 10, 1100.0, 95.0, 600)
    numbers = gather(record.run)
    (found,) = recommend(numbers, Budget(), model=DECODER)
    lines = confidence(numbers, found)
    assert lines[0].endswith("p = 0.002). The difference is supported.")
    assert lines[1].startswith("The study has no result of in-context learning") and len(lines) == 2
    assert "Memory was measured without a GPU" in caveats(numbers, limited=True)[-1]


def test_training_that_does_not_pay_is_said(begin: Callable[..., Recorder]) -> None:
    record = begin("icl.examples=[2]", "icl.seeds=[1]")
    enter(record, LORA, 3, 3000.0, 60.0, 9000)
    record.icl(IclJob(DECODER, DATASET, 2, 1), block(0.0, 40.0, 30.0, 30.0, ITEMS))
    numbers = gather(record.run)
    (found,) = recommend(numbers, Budget())
    lines = confidence(numbers, found)
    assert lines[0] == "It is the only tested cell within the limits: there is nothing to compare it with."
    assert lines[1].endswith("reaches 40.0 % without training, which is not less: training may not be worth it here.")


def test_without_predictions_nothing_is_said_about_chance(begin: Callable[..., Recorder]) -> None:
    record = begin("icl=null")
    enter(record, LORA, 20, 3000.0, 60.0, 9000)
    enter(record, PREFIX, 10, 1100.0, 95.0, 600)
    record.run.predictions_file(PREFIX).unlink()
    numbers = gather(record.run)
    (found,) = recommend(numbers, Budget())
    assert found.rivals[0].p is None and not found.rivals[0].is_worse
    assert "nothing is known about chance" in confidence(numbers, found)[0]


def test_the_verb(run: Run, call: Call) -> None:
    ended = call("recommend", str(run.folder), "--gpu-memory", "24")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "For Snippets within 24 GiB: LoRA on Tiny decoder"
    assert lines[1] == "  with r = 64, lora_alpha = 128, lora_dropout = 0.1, learning_rate = 0.002"
    assert lines[2].startswith("  EM@10 66.7 % (95 % interval ") and lines[2].endswith("on 30 test items")
    assert lines[3] == "  3,512 MiB, 1m 00s of training, 9,000 trained weights"
    content = json.loads(call("recommend", str(run.folder), "--max-hours", "1", "--json").out)
    assert content[0]["recommended"]["cell"] == LORA.id and content[0]["limits"]["hours"] == 1.0
    assert [one["is_worse"] for one in content[0]["alternatives"]] == [False, True]
    nothing = call("recommend", str(run.folder), "--gpu-memory", "0.1")
    assert nothing.code == 0 and "nothing that the study has tested" in nothing.out
    wrong = call("recommend", str(run.folder), "--model", "gpt")
    assert wrong.code == 2 and "--model: 'gpt' is not in the study" in wrong.err
