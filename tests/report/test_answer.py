"""The generated answer, word for word."""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.recording import DATASET, DECODER, ENCODER_DECODER, Recorder, block, predictions, score_rows
from raypeft.output.files import write_json, write_text
from raypeft.report.answer import answer
from raypeft.report.numbers.gather import gather
from raypeft.report.numbers.weighing import weigh
from raypeft.report.tables.differences import difference_table
from raypeft.report.tables.table import to_markdown
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell, IclJob
from raypeft.spec.resolve import resolve


def test_nothing_is_answered_before_a_test(empty: Run) -> None:
    assert answer(gather(empty)) == [
        "None of the 6 cells has a test result, so there is no answer yet.",
        "0 of 18 trials have ended and 0 of 32 in-context learning runs are done.",
    ]


def test_an_unfinished_run_says_how_far_it_is(partial: Run) -> None:
    assert answer(gather(partial)) == [
        "With 2 of 6 cells tested: on the test items, the highest EM@10 was that of LoRA for Tiny decoder on Snippets "
        "(45.0 %).",
        "The best technique's EM@10 was not told apart from that of in-context learning at its best number of examples "
        "for Tiny decoder on Snippets (+29.0 points, 2 examples); nothing could be tested: the 160 test items have no "
        "comparable predictions.",
    ]


def test_a_tie_and_a_loss_to_icl_are_said_as_such(begin: Callable[..., Recorder]) -> None:
    record = begin("icl.examples=[1]", "icl.seeds=[1]", techniques=("lora", "ia3"))
    for model, scores in ((DECODER, (40.0, 40.0)), (ENCODER_DECODER, (10.0, 15.0))):
        for technique, em in zip(("lora", "ia3"), scores, strict=True):
            record.test(Cell(model, DATASET, technique), block(1.0, em, 1.0, 1.0), [])
        record.icl(IclJob(model, DATASET, 1, 1), block(1.0, 20.0, 1.0, 1.0))
    assert answer(gather(record.run)) == [
        "On the test items, the highest EM@10 was that of LoRA and IA3 (tied) for Tiny decoder on Snippets (40.0 %) "
        "and that of IA3 for Tiny encoder-decoder on Snippets (15.0 %).",
        "The best technique's EM@10 was not told apart from that of in-context learning at its best number of examples "
        "for Tiny decoder on Snippets (+20.0 points, 1 example) and for Tiny encoder-decoder on Snippets (−5.0 points, "
        "1 example); nothing could be tested: the 160 test items have no comparable predictions.",
    ]


def test_many_pairs_are_counted(begin: Callable[..., Recorder]) -> None:
    catalogue = [
        f"catalogue.datasets.set-{number}={{title: Set {number}, folder: 'embedded:snippets'}}" for number in range(4)
    ]
    record = begin(
        *catalogue,
        "datasets=[set-0, set-1, set-2, set-3]",
        "models=[tiny-decoder]",
        "icl.examples=[0]",
        techniques=("lora", "ia3"),
    )
    for number, (lora, ia3) in enumerate([(30.0, 20.0), (30.0, 20.0), (10.0, 20.0), (25.0, 25.0)]):
        items = 100 + 50 * number
        record.test(Cell(DECODER, f"set-{number}", "lora"), block(1.0, lora, 1.0, 1.0, items), [])
        record.test(Cell(DECODER, f"set-{number}", "ia3"), block(1.0, ia3, 1.0, 1.0, items), [])
        record.icl(IclJob(DECODER, f"set-{number}", 0, 42), block(1.0, 22.0, 1.0, 1.0, items))
    assert answer(gather(record.run)) == [
        "Of 4 pairs of model and data set, the highest EM@10 on the test items was that of LoRA in 3 and IA3 in 2 "
        "(ties counted for each); it was above that of every other technique in none of them.",
        "The best technique's EM@10 was not told apart from that of in-context learning at its best number of examples "
        "in 4 of 4 comparisons (differences from −2.0 to +8.0 points, median +5.5); nothing could be tested: the 100 "
        "to 250 test items have no comparable predictions.",
    ]


def record_items(
    record: Recorder, cell: Cell, right: Sequence[int], dataset: str | None = None, memory: float = 512
) -> None:
    """A cell tested on 40 items, of which it has some right."""
    rows = predictions(right)
    record.test(cell, score_rows(rows), rows, dataset)
    record.select(cell, 0, 1, 1.0, 30.0, {"learning_rate": 0.0003}, memory)


def test_a_single_technique_is_not_compared_with_others(begin: Callable[..., Recorder]) -> None:
    record = begin("icl.examples=[1]", "icl.seeds=[1]", "models=[tiny-decoder]", techniques=("lora",))
    record.test(Cell(DECODER, DATASET, "lora"), block(1.0, 40.0, 1.0, 1.0), [])
    record.icl(IclJob(DECODER, DATASET, 1, 1), block(1.0, 20.0, 1.0, 1.0))
    assert answer(gather(record.run)) == [
        "On the test items, LoRA's EM@10 was 40.0 % for Tiny decoder on Snippets.",
        "Tuning's EM@10 was not told apart from that of in-context learning at its best number of examples for Tiny "
        "decoder on Snippets (+20.0 points, 1 example); nothing could be tested: the 160 test items have no comparable "
        "predictions.",
    ]


def test_a_single_cell_has_nothing_to_compare_with(begin: Callable[..., Recorder]) -> None:
    record = begin("icl=null", "models=[tiny-decoder]", techniques=("lora",))
    record.test(Cell(DECODER, DATASET, "lora"), block(1.0, 40.0, 1.0, 1.0), [])
    assert answer(gather(record.run)) == [
        "On the test items, LoRA's EM@10 was 40.0 % for Tiny decoder on Snippets; there is nothing to compare with."
    ]


def test_joint_training_is_compared_with_training_on_each_data_set(tmp_path: Path) -> None:
    study = """\
question: Does training on both help?
models: [tiny-decoder]
datasets: [snippets, other, both]
techniques: [lora]
catalogue: {datasets: {other: {title: Other, folder: /data/other}, both: {title: Both, join: [snippets, other]}}}
search: {trials: 1}
"""
    write_text(tmp_path / "joint.yaml", study)
    record = Recorder(Run(tmp_path / "run"))
    write_text(record.run.study_file, resolve(str(tmp_path / "joint.yaml")).dump())
    # 20 items of Snippets that joint training alone has right (p = 2 / 2^20); of Other one each (p = 1).
    record_items(record, Cell(DECODER, "snippets", "lora"), range(10))
    record_items(record, Cell(DECODER, "other", "lora"), range(20))
    record_items(record, Cell(DECODER, "both", "lora"), range(30), "snippets")
    record_items(record, Cell(DECODER, "both", "lora"), range(1, 21), "other")
    numbers = weigh(gather(record.run))
    found = [one for one in numbers.evidence.comparisons if one.metric == numbers.metric]
    assert [(one.first.name, one.items, one.difference, one.supported) for one in found] == [
        ("tiny-decoder/both/lora on snippets", 40, 50.0, True),
        ("tiny-decoder/both/lora on other", 40, 0.0, False),
    ]
    shown = [line for line in to_markdown(difference_table(numbers)).splitlines() if line.startswith("| Tiny")]
    assert [line.split(" | ")[1:6] for line in shown] == [
        ["Both", "Snippets", "**LoRA**", "**LoRA trained on Snippets**", "+50.0"],
        ["Both", "Other", "LoRA", "LoRA trained on Other", "0.0"],
    ]
    assert answer(numbers) == [
        "After joint training, EM@10 on the test items was above that after training on the test set's own data alone "
        "for LoRA, Tiny decoder on Both, tested on Snippets (+50.0 points) and not told apart from it for LoRA, Tiny "
        "decoder on Both, tested on Other (0.0 points).",
        "On the test items of 4 pairs of model and data set, LoRA's EM@10 was from 25.0 % to 75.0 % (median 50.0 %), "
        "highest for Tiny decoder on Both, tested on Snippets; this goes by 2 paired tests on 40 test items, at 5 % "
        "after Holm's correction for their number.",
    ]


def test_groups_of_models_are_compared_by_their_best_cells(begin: Callable[..., Recorder]) -> None:
    groups = "models={small: [tiny-encoder-decoder], large: [tiny-decoder]}"
    record = begin("icl=null", groups, techniques=("lora", "ia3"))
    for cell, right in (
        (Cell(ENCODER_DECODER, DATASET, "lora"), range(3)),
        (Cell(ENCODER_DECODER, DATASET, "ia3"), range(4)),
        (Cell(DECODER, DATASET, "lora"), range(30)),
        (Cell(DECODER, DATASET, "ia3"), range(2)),
    ):
        record_items(record, cell, right)
    assert answer(weigh(gather(record.run)))[1:] == [
        "Between groups of models, the highest EM@10 was that of “large” on Snippets (LoRA for Tiny decoder, 75.0 %, "
        "above “small”); this goes by 3 paired tests on 40 test items, at 5 % after Holm's correction for their number."
    ]


def test_models_without_groups_are_compared_each(begin: Callable[..., Recorder]) -> None:
    record = begin("icl=null", techniques=("lora",))
    record_items(record, Cell(DECODER, DATASET, "lora"), range(10))
    record_items(record, Cell(ENCODER_DECODER, DATASET, "lora"), range(9))
    assert answer(weigh(gather(record.run)))[1:] == [
        "Between models, the highest EM@10 was that of Tiny decoder on Snippets (LoRA, 25.0 %, not told apart from "
        "Tiny encoder-decoder); this goes by a paired test on 40 test items, at 5 %."
    ]


def test_less_memory_is_said_on_a_gpu_only(begin: Callable[..., Recorder]) -> None:
    record = begin("icl=null", "models=[tiny-decoder]", techniques=("lora", "ia3"))
    record_items(record, Cell(DECODER, DATASET, "lora"), range(10), memory=1000)
    record_items(record, Cell(DECODER, DATASET, "ia3"), range(9), memory=600)
    head = "On the test items, the highest EM@10 was that of LoRA for Tiny decoder on Snippets (25.0 %, not told apart "
    goes_by = "; this goes by a paired test on 40 test items, at 5 %."
    assert answer(weigh(gather(record.run))) == [f"{head}from any other technique){goes_by}"]
    write_json(record.run.manifest_file, {"gpus": ["a card"]})
    assert answer(weigh(gather(record.run))) == [
        f"{head}from any other technique); least memory was taken by another technique in 1 of 1 (IA3 in 1; 40.0 % "
        f"less in the median, EM@10 not told apart in 1){goes_by}"
    ]
