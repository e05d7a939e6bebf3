"""Which technique reaches the most, and what less memory costs."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

from raypeft.output.text import joined, percent
from raypeft.report.answer.wording import ENUMERATED, relation, rivals
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.gather import Numbers, Pair


def sentence(numbers: Numbers) -> str:
    """The best technique of each model and data set; where a study has one technique alone, what that reaches."""
    measured = [pair for pair in numbers.pairs if pair.best]
    contested = [pair for pair in measured if len(pair.cells) > 1]
    if not contested:
        return _reached(numbers, measured)
    return _best(numbers, contested) + _memory(numbers, contested)


def _reached(numbers: Numbers, pairs: Sequence[Pair]) -> str:
    names = {numbers.technique(pair.best[0]) for pair in pairs}
    whose = f"{names.pop()}'s EM@{numbers.k}" if len(names) == 1 else f"EM@{numbers.k}"
    if len(pairs) <= ENUMERATED:
        found = joined([f"{_value(numbers, pair.best[0])} for {_title(numbers, pair)}" for pair in pairs])
        return f"on the test items, {whose} was {found}"
    values = [pair.best[0].metrics[numbers.metric] or 0.0 for pair in pairs]
    best = max(pairs, key=lambda pair: pair.best[0].metrics[numbers.metric] or 0.0)
    return (
        f"on the test items of {len(pairs)} pairs of model and data set, {whose} was from {percent(min(values))} % to "
        f"{percent(max(values))} % (median {percent(median(values))} %), highest for {_title(numbers, best)}"
    )


def _best(numbers: Numbers, pairs: Sequence[Pair]) -> str:
    if len(pairs) <= ENUMERATED:
        found = joined([f"that of {_result(numbers, pair)}" for pair in pairs])
        return f"on the test items, the highest EM@{numbers.k} was {found}"
    wins = Counter(numbers.technique(row) for pair in pairs for row in pair.best)
    places = joined([f"{name} in {number}" for name, number in wins.most_common()])
    ties = " (ties counted for each)" if wins.total() > len(pairs) else ""
    clear = sum(rivals(numbers, pair.best[0], _others(pair)) == [] for pair in pairs)
    return (
        f"of {len(pairs)} pairs of model and data set, the highest EM@{numbers.k} on the test items was "
        f"that of {places}{ties}; it was above that of every other technique in {clear or 'none'} of them"
    )


def _result(numbers: Numbers, pair: Pair) -> str:
    """The best technique of a pair, its value, and what it is told apart from."""
    best, *tied = pair.best
    names = joined([numbers.technique(row) for row in pair.best]) + (" (tied)" if tied else "")
    head = f"{names} for {_title(numbers, pair)} ({_value(numbers, best)}"
    others = _others(pair)
    near = rivals(numbers, best, others)
    if near is None:
        return f"{head})"
    if not near:
        return f"{head}, above every other technique)"
    if len(near) == len(others):
        return f"{head}, not told apart from any other technique)"
    return f"{head}, not told apart from {joined([numbers.technique(row) for row in near])}, but above the others)"


def _memory(numbers: Numbers, pairs: Sequence[Pair]) -> str:
    """What the technique of least memory saves; nothing without a GPU, where memory is that of a whole process."""
    if not numbers.run.manifest().gpus:
        return ""
    known = [pair for pair in pairs if all(_mebibytes(row) for row in pair.measured)]
    cheaper = [(pair, row) for pair in known if (row := _cheapest(numbers, pair)) not in pair.best]
    if not known:
        return ""
    if not cheaper:
        return "; no other technique took less memory"
    wins = Counter(numbers.technique(row) for _, row in cheaper)
    names = joined([f"{name} in {number}" for name, number in wins.most_common()])
    saved = median(100 * (1 - _mebibytes(row) / _mebibytes(pair.best[0])) for pair, row in cheaper)
    same = sum(relation(numbers, pair.best[0], row) == "not told apart from" for pair, row in cheaper)
    return (
        f"; least memory was taken by another technique in {len(cheaper)} of {len(known)} ({names}; {percent(saved)} % "
        f"less in the median, EM@{numbers.k} not told apart in {same or 'none'})"
    )


def _cheapest(numbers: Numbers, pair: Pair) -> CellRow:
    """The technique of least memory; of several the one that reaches most."""
    return min(pair.measured, key=lambda row: (_mebibytes(row), -(row.metrics[numbers.metric] or 0.0)))


def _mebibytes(row: CellRow) -> float:
    return float(row.selection.peak_memory_mib or 0.0)


def _others(pair: Pair) -> list[CellRow]:
    return [row for row in pair.measured if row is not pair.best[0]]


def _title(numbers: Numbers, pair: Pair) -> str:
    return numbers.title(pair.model, pair.dataset, pair.test_set)


def _value(numbers: Numbers, row: CellRow) -> str:
    return f"{percent(row.metrics[numbers.metric] or 0.0)} %"
