"""The metrics of an item's first candidate. One entry here is all that a new metric takes.

Tests, tables, comparisons, cards and what is kept of the single items go through `METRICS`. EM@k, which ranks
candidates, is not among them; see `exact_match`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raypeft.metrics.chrf import WIDTH as CHRF_WIDTH
from raypeft.metrics.chrf import chrf_counts, chrf_score
from raypeft.metrics.composition import PARTS, WIDTH, Array, compose, compose_flat
from raypeft.output.text import percent

if TYPE_CHECKING:  # scipy takes a second to import, and a test that is only named does without it
    from raypeft.statistics import Paired


@dataclass(frozen=True)
class PairedTest:
    """A test of two systems on the same items.

    Attributes:
        name: in a sentence.
        effect: what its size of the effect is called.
        run: the test of the first system's outcomes, one an item, against the second's.
        reverse: the effect as the second system sees it.
    """

    name: str
    effect: str
    run: "Callable[[Any, Any], Paired]"
    reverse: Callable[[float], float]


@dataclass(frozen=True)
class Metric:
    """A metric in percent that adds up counts of items before it divides them.

    Attributes:
        title: in full, as a card has it.
        heading: of its columns.
        width: how many counts an item has.
        count: the counts of each pair of reference and prediction, shape (items, width).
        compose: what summed counts give, the score first: shape (…, parts) from (…, width). An item's score is that of
            its own counts.
        parts: what each of these numbers is called in a `test.json`; none where there is only the score.
        test: that systems are compared by; none where they are not. Readers see the interval of a metric that is.
        higher_is_better: its direction.
        explanation: what readers of a table have to know of it, in a few words.
        text: how a value is printed.
    """

    title: str
    heading: str
    width: int
    count: Callable[[Sequence[str], Sequence[str]], Array]
    compose: Callable[[Array], Array]
    parts: tuple[str, ...] = ()
    test: PairedTest | None = None
    higher_is_better: bool = True
    explanation: str = ""
    text: Callable[[float], str] = percent

    @property
    def note(self) -> str:
        """What readers of its columns have to know: the explanation, and a direction that is not the usual one."""
        return ", ".join(filter(None, (self.explanation, "" if self.higher_is_better else "lower is better")))

    def upward(self, value: float | None) -> float:
        """A number that is the higher the better the value is; lowest where there is none."""
        return float("-inf") if value is None else value if self.higher_is_better else -value

    def score(self, counts: Array) -> Array:
        """Scores from summed counts of shape (…, width)."""
        return self.compose(counts)[..., 0]

    def block(self, counts: Array) -> Any:
        """The score of a corpus from its items' counts, fit for JSON; with its parts, where it has any."""
        values = self.compose(counts.sum(axis=0)) if len(counts) else [0.0] * max(1, len(self.parts))
        # NaN, the one number that differs from itself, stands for a part that does not exist.
        numbers = [None if value != value else float(value) for value in values]
        return dict(zip(self.parts, numbers, strict=True)) if self.parts else numbers[0]


def _mcnemar(first: Any, second: Any) -> "Paired":
    from raypeft.statistics import mcnemar

    return mcnemar(first, second)


def _wilcoxon(first: Any, second: Any) -> "Paired":
    from raypeft.statistics import wilcoxon

    return wilcoxon(first, second)


MCNEMAR = PairedTest("McNemar's exact test", "Odds ratio", _mcnemar, lambda effect: 1 / effect)
WILCOXON = PairedTest("Wilcoxon's signed-rank test", "Cliff's delta", _wilcoxon, lambda effect: -effect)


# Counting loads a grammar, which a report does without.
def _codebleu(references: Sequence[str], predictions: Sequence[str]) -> Array:
    from raypeft.metrics.codebleu import codebleu_counts

    return codebleu_counts(references, predictions)


def _codebleu_flat(references: Sequence[str], predictions: Sequence[str]) -> Array:
    from raypeft.metrics.codebleu import codebleu_flat_counts

    return codebleu_flat_counts(references, predictions)


def _chrf(counts: Array) -> Array:
    return chrf_score(counts)[..., None]


METRICS: dict[str, Metric] = {
    "codebleu": Metric("CodeBLEU", "CodeBLEU", WIDTH, _codebleu, compose, PARTS, WILCOXON),
    "codebleu_flat": Metric(
        "CodeBLEU, flat",
        "flat",
        WIDTH,
        _codebleu_flat,
        compose_flat,
        PARTS,
        explanation="on code put on one line, as in the paper",
    ),
    "chrf": Metric("chrF", "chrF", CHRF_WIDTH, chrf_counts, _chrf, test=WILCOXON),
}
"""By key in a `test.json`, in the order of the tables."""


def compared_metrics() -> dict[str, Metric]:
    """The metrics that systems are compared in, beside EM@k."""
    return {key: metric for key, metric in METRICS.items() if metric.test}


def paired_test(key: str) -> PairedTest:
    """The test of a metric that systems are compared in: one of `METRICS`, or EM@k."""
    test = METRICS[key].test if key in METRICS else MCNEMAR
    assert test is not None
    return test
