"""The answer of a study in two sentences, worded no stronger than its numbers."""

from collections import Counter
from statistics import median

from raypeft.report.formatting import count, joined, percent, points
from raypeft.report.numbers import Numbers, Pair

_ENUMERATED = 3


def answer(numbers: Numbers) -> tuple[str, str]:
    """Which technique reached the most, and what in-context learning reached beside it: two sentences."""
    pairs = [pair for pair in numbers.pairs if pair.best]
    if not pairs:
        return _nothing_yet(numbers)
    return _best(numbers, pairs), _against_icl(numbers, pairs)


def _technique_names(numbers: Numbers, pair: Pair) -> str:
    """Titles of the best techniques of a pair."""
    names = joined([numbers.technique(row) for row in pair.best])
    return names if len(pair.best) == 1 else f"{names} (tied)"


def _nothing_yet(numbers: Numbers) -> tuple[str, str]:
    ended = sum(trial.state != "running" for trial in numbers.trials)
    runs = sum(row.done for row in numbers.icl)
    return (
        f"None of the {len(numbers.states)} cells has a test result, so there is no answer yet.",
        f"{ended} of {numbers.run.plan.trials} trials have ended and {runs} of {len(numbers.run.plan.icl_jobs)} "
        "in-context learning runs are done.",
    )


def _best(numbers: Numbers, pairs: list[Pair]) -> str:
    if len(pairs) <= _ENUMERATED:
        found = joined([f"that of {_result(numbers, pair)}" for pair in pairs])
        text = f"on the test items, the highest EM@{numbers.k} was {found}."
    else:
        wins = Counter(numbers.technique(row) for pair in pairs for row in pair.best)
        places = joined([f"{name} in {number}" for name, number in wins.most_common()])
        ties = " (ties counted for each)" if wins.total() > len(pairs) else ""
        text = (
            f"of {len(pairs)} pairs of model and data set, the highest EM@{numbers.k} on the test items was "
            f"that of {places}{ties}."
        )
    if numbers.tested < len(numbers.states):
        return f"With {numbers.tested} of {len(numbers.states)} cells tested: {text}"
    return text[0].upper() + text[1:]


def _result(numbers: Numbers, pair: Pair) -> str:
    value = pair.best[0].metrics[numbers.metric] or 0.0
    size = f"{percent(value)} %"
    if (second := pair.runner_up) is not None:
        gap = points(value - (second.metrics[numbers.metric] or 0.0)).removeprefix("+")
        size += f", {gap} points above {numbers.technique(second)}"
    return f"{_technique_names(numbers, pair)} for {numbers.title(pair.model, pair.dataset, pair.test_set)} ({size})"


def _against_icl(numbers: Numbers, pairs: list[Pair]) -> str:
    caution = f"all differences are observed on {_items(pairs)} test items, with no test of significance."
    if not numbers.icl:
        return f"The study has no in-context learning to compare with; {caution}"
    compared = [(pair, pair.difference) for pair in pairs if pair.difference is not None]
    if not compared:
        return f"No in-context learning has a result to compare with yet; {caution}"
    head = f"The best technique's EM@{numbers.k}"
    other = "that of in-context learning at its best number of examples"
    if len(compared) <= _ENUMERATED:
        found = [
            f"{points(gap)} points for {numbers.title(pair.model, pair.dataset, pair.test_set)}{_examples(pair)}"
            for pair, gap in compared
        ]
        return f"{head} differs from {other} by {joined(found)}; {caution}"
    gaps = [gap for _, gap in compared]
    higher = sum(gap > 0 for gap in gaps)
    span = f"from {points(min(gaps))} to {points(max(gaps))} points, median {points(median(gaps))}"
    return f"{head} was above {other} in {higher} of {len(gaps)} pairs (differences {span}); {caution}"


def _examples(pair: Pair) -> str:
    best = pair.best_icl
    return f" ({best.examples} example{'' if best.examples == 1 else 's'})" if best else ""


def _items(pairs: list[Pair]) -> str:
    sizes = sorted({pair.items for pair in pairs if pair.items})
    return joined([count(size) for size in sizes]) if len(sizes) < 3 else f"{count(sizes[0])} to {count(sizes[-1])}"
