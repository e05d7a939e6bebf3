"""What tuning reaches beside in-context learning."""

from raypeft.report.answer.wording import Difference, relation, standing
from raypeft.report.numbers.gather import Numbers, Pair


def sentence(numbers: Numbers) -> str | None:
    """How the best techniques stand to the best numbers of examples; none where the study plans no such learning."""
    if not numbers.icl:
        return None
    found = [
        Difference(
            numbers.title(pair.model, pair.dataset, pair.test_set),
            gap,
            relation(numbers, pair.best[0], pair.best_icl),
            _examples(pair),
        )
        for pair in numbers.pairs
        if pair.best_icl is not None and (gap := pair.difference) is not None
    ]
    if not found:
        return "no in-context learning has a result to compare with yet"
    several = any(len(pair.cells) > 1 for pair in numbers.pairs)
    who = "the best technique's" if several else "tuning's"
    return standing(f"{who} EM@{numbers.k} was", "that of in-context learning at its best number of examples", found)


def _examples(pair: Pair) -> str:
    best = pair.best_icl
    return f", {best.examples} example{'' if best.examples == 1 else 's'}" if best else ""
