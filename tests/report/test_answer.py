"""The generated answer, word for word."""

from collections.abc import Callable

from raypeft.report.answer import answer
from raypeft.report.numbers import gather
from raypeft.run import Run
from raypeft.spec.plan import Cell, IclJob

from .recording import DATASET, DECODER, ENCODER_DECODER, Recorder, block


def test_nothing_is_answered_before_a_test(empty: Run) -> None:
    assert answer(gather(empty)) == (
        "None of the 6 cells has a test result, so there is no answer yet.",
        "0 of 18 trials have ended and 0 of 32 in-context learning runs are done.",
    )


def test_an_unfinished_run_says_how_far_it_is(partial: Run) -> None:
    assert answer(gather(partial)) == (
        "With 2 of 6 cells tested: on the test items, the highest EM@10 was that of LoRA for Tiny decoder on Snippets "
        "(45.0 %).",
        "The best technique's EM@10 was not told apart from that of in-context learning at its best number of examples "
        "for Tiny decoder on Snippets (+29.0 points, 2 examples); nothing could be tested: the 160 test items have no "
        "comparable predictions.",
    )


def test_a_tie_and_a_loss_to_icl_are_said_as_such(begin: Callable[..., Recorder]) -> None:
    record = begin("icl.examples=[1]", "icl.seeds=[1]", techniques=("lora", "ia3"))
    for model, scores in ((DECODER, (40.0, 40.0)), (ENCODER_DECODER, (10.0, 15.0))):
        for technique, em in zip(("lora", "ia3"), scores, strict=True):
            record.test(Cell(model, DATASET, technique), block(1.0, em, 1.0, 1.0), [])
        record.icl(IclJob(model, DATASET, 1, 1), block(1.0, 20.0, 1.0, 1.0))
    assert answer(gather(record.run)) == (
        "On the test items, the highest EM@10 was that of LoRA and IA3 (tied) for Tiny decoder on Snippets (40.0 %) "
        "and that of IA3 for Tiny encoder-decoder on Snippets (15.0 %).",
        "The best technique's EM@10 was not told apart from that of in-context learning at its best number of examples "
        "for Tiny decoder on Snippets (+20.0 points, 1 example) and for Tiny encoder-decoder on Snippets (−5.0 points, "
        "1 example); nothing could be tested: the 160 test items have no comparable predictions.",
    )


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
    assert answer(gather(record.run)) == (
        "Of 4 pairs of model and data set, the highest EM@10 on the test items was that of LoRA in 3 and IA3 in 2 "
        "(ties counted for each); it was above that of every other technique in none of them.",
        "The best technique's EM@10 was not told apart from that of in-context learning at its best number of examples "
        "in 4 of 4 pairs (differences from −2.0 to +8.0 points, median +5.5); nothing could be tested: the 100 to 250 "
        "test items have no comparable predictions.",
    )
