"""Which models reach the most, or which group of them."""

from collections import Counter
from collections.abc import Sequence

from raypeft.output.text import joined, percent
from raypeft.report.answer.wording import ENUMERATED, rivals
from raypeft.report.numbers.contrasts import Leader, is_grouped, leaders
from raypeft.report.numbers.gather import Numbers


def sentence(numbers: Numbers) -> str | None:
    """Whose best cell has the highest EM@k on each test set; none with a single model or group."""
    found = leaders(numbers)
    if not found:
        return None
    kind = "groups of models" if is_grouped(numbers) else "models"
    head = f"between {kind}, the highest EM@{numbers.k} was that of"
    if len(found) <= ENUMERATED:
        return f"{head} {joined([_result(numbers, place, several) for place, several in found.items()])}"
    wins = Counter(_best(numbers, several).title for several in found.values())
    places = joined([f"{name} in {number}" for name, number in wins.most_common()])
    clear = sum(_near(numbers, several) == [] for several in found.values())
    return f"{head} {places} of {len(found)} test sets, above every other in {clear or 'none'}"


def _best(numbers: Numbers, several: Sequence[Leader]) -> Leader:
    return max(several, key=lambda one: one.row.metrics[numbers.metric] or 0.0)


def _near(numbers: Numbers, several: Sequence[Leader]) -> list[Leader] | None:
    """Leaders that are not told apart from the best one; none where nothing could be tested."""
    best = _best(numbers, several)
    near = rivals(numbers, best.row, [one.row for one in several if one is not best])
    return None if near is None else [one for one in several if any(one.row is row for row in near)]


def _result(numbers: Numbers, place: tuple[str, str], several: Sequence[Leader]) -> str:
    dataset, test_set = place
    resolved = numbers.run.plan.resolved
    best, near = _best(numbers, several), _near(numbers, several)
    others = [one.title for one in several if one is not best]
    where = resolved.datasets[test_set].title
    where += "" if dataset == test_set else f" after training on {resolved.datasets[dataset].title}"
    model = resolved.models[best.row.cell.model].title
    cell = numbers.technique(best.row) + ("" if model == best.title else f" for {model}")
    verdict = ""
    if near is not None:
        apart = [title for title in others if all(title != one.title for one in near)]
        verdicts = [f"above {joined(apart)}"] if apart else []
        verdicts += [f"not told apart from {joined([one.title for one in near])}"] if near else []
        verdict = f", {joined(verdicts)}"
    return f"{best.title} on {where} ({cell}, {percent(best.row.metrics[numbers.metric] or 0.0)} %{verdict})"
