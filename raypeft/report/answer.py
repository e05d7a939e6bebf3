"""The answer of a study in two sentences, which claim a difference only where its corrected test supports it."""

from collections import Counter
from statistics import median

from raypeft.report.cells import CellRow
from raypeft.report.evidence import Comparison
from raypeft.report.formatting import count, joined, percent, points
from raypeft.report.numbers import Numbers, Pair

_ENUMERATED = 3


def answer(numbers: Numbers) -> tuple[str, str]:
    """Which technique reached the most, and what in-context learning reached beside it: two sentences."""
    pairs = [pair for pair in numbers.pairs if pair.best]
    if not pairs:
        return _nothing_yet(numbers)
    return _best(numbers, pairs), _against_icl(numbers, pairs)


def rivals(numbers: Numbers, pair: Pair) -> list[CellRow] | None:
    """Techniques that no corrected test tells apart from the best one; none where nothing could be tested."""
    best, *_ = pair.best
    others = [row for row in pair.cells if row is not best and row.metrics.get(numbers.metric) is not None]
    found = [numbers.evidence.between(pair, best, other, numbers.metric) for other in others]
    if others and not any(found):
        return None
    return [other for other, one in zip(others, found, strict=True) if one is None or not one.supported]


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
        clear = sum(len(pair.cells) > 1 and rivals(numbers, pair) == [] for pair in pairs)
        text = (
            f"of {len(pairs)} pairs of model and data set, the highest EM@{numbers.k} on the test items was "
            f"that of {places}{ties}; it was above that of every other technique in {clear or 'none'} of them."
        )
    if numbers.tested < len(numbers.states):
        return f"With {numbers.tested} of {len(numbers.states)} cells tested: {text}"
    return text[0].upper() + text[1:]


def _result(numbers: Numbers, pair: Pair) -> str:
    """The best technique of a pair, its value, and what it is told apart from."""
    best, *tied = pair.best
    names = joined([numbers.technique(row) for row in pair.best]) + (" (tied)" if tied else "")
    value = f"{percent(best.metrics[numbers.metric] or 0.0)} %"
    title = numbers.title(pair.model, pair.dataset, pair.test_set)
    others = [row for row in pair.cells if row is not best and row.metrics.get(numbers.metric) is not None]
    near = rivals(numbers, pair)
    if not others or near is None:
        return f"{names} for {title} ({value})"
    if not near:
        return f"{names} for {title} ({value}, above every other technique)"
    if len(near) == len(others):
        return f"{names} for {title} ({value}, not told apart from any other technique)"
    apart = joined([numbers.technique(row) for row in near])
    return f"{names} for {title} ({value}, not told apart from {apart}, but above the others)"


def _against_icl(numbers: Numbers, pairs: list[Pair]) -> str:
    caution = _caution(numbers, pairs)
    if not numbers.icl:
        return f"The study has no in-context learning to compare with; {caution}"
    compared = [(pair, pair.difference) for pair in pairs if pair.difference is not None]
    if not compared:
        return f"No in-context learning has a result to compare with yet; {caution}"
    groups: dict[str, list[tuple[Pair, float]]] = {"above": [], "below": [], "not told apart from": []}
    for pair, gap in compared:
        groups[_relation(numbers, pair)].append((pair, gap))
    other = "that of in-context learning at its best number of examples"
    head = f"The best technique's EM@{numbers.k} was"
    found: list[str] = []
    for relation, members in groups.items():
        if members:
            what = "it" if found else other
            where = _places(numbers, members) if len(compared) <= _ENUMERATED else f"in {len(members)}"
            found.append(f"{relation} {what} {where}")
    if len(compared) <= _ENUMERATED:
        return f"{head} {joined(found)}; {caution}"
    gaps = [gap for _, gap in compared]
    span = f"differences from {points(min(gaps))} to {points(max(gaps))} points, median {points(median(gaps))}"
    return f"{head} {joined(found)} of {len(compared)} pairs ({span}); {caution}"


def _places(numbers: Numbers, members: list[tuple[Pair, float]]) -> str:
    places = [
        f"for {numbers.title(pair.model, pair.dataset, pair.test_set)} ({points(gap)} points{_examples(pair)})"
        for pair, gap in members
    ]
    return joined(places)


def _relation(numbers: Numbers, pair: Pair) -> str:
    found: Comparison | None = None
    if pair.best_icl is not None:
        found = numbers.evidence.between(pair, pair.best[0], pair.best_icl, numbers.metric)
    if found is None or not found.supported:
        return "not told apart from"
    return "above" if found.difference > 0 else "below"


def _examples(pair: Pair) -> str:
    best = pair.best_icl
    return f", {best.examples} example{'' if best.examples == 1 else 's'}" if best else ""


def _caution(numbers: Numbers, pairs: list[Pair]) -> str:
    family = [found for found in numbers.evidence.comparisons if found.metric == numbers.metric]
    if not family:
        return f"nothing could be tested: the {_items(pairs)} test items have no comparable predictions."
    if len(family) == 1:
        return f"this goes by a paired test on {_items(pairs)} test items, at 5 %."
    return (
        f"this goes by {count(len(family))} paired tests on {_items(pairs)} test items, "
        "at 5 % after Holm's correction for their number."
    )


def _items(pairs: list[Pair]) -> str:
    sizes = sorted({pair.items for pair in pairs if pair.items})
    return joined([count(size) for size in sizes]) if len(sizes) < 3 else f"{count(sizes[0])} to {count(sizes[-1])}"
