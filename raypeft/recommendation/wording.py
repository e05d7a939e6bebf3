"""What may be said about a recommendation: no more than the tests support."""

from raypeft.output.text import count, duration, interval, joined, mebibytes, p_value, percent, points
from raypeft.recommendation.candidates import Candidate
from raypeft.recommendation.choice import Recommendation, Rival
from raypeft.report.numbers.gather import Numbers


def title(numbers: Numbers, candidate: Candidate) -> str:
    """A candidate in words: technique, model, and the training data where they are not those of the test."""
    resolved, cell = numbers.run.plan.resolved, candidate.row.cell
    name = f"{numbers.technique(candidate.row)} on {resolved.models[cell.model].title}"
    trained = "" if cell.dataset == candidate.row.test_set else f", trained on {resolved.datasets[cell.dataset].title}"
    return name + trained


def costs(candidate: Candidate) -> str:
    """Memory, time and trained weights."""
    memory = "memory not measured" if candidate.memory_mib is None else f"{mebibytes(candidate.memory_mib)} MiB"
    return f"{memory}, {duration(candidate.seconds)} of training, {count(candidate.trainable)} trained weights"


def confidence(numbers: Numbers, found: Recommendation) -> list[str]:
    """How sure the recommendation is, one statement a line."""
    assert found.best is not None
    lines = [_against_runner_up(numbers, found)]
    equals = [rival for rival in found.rivals if not rival.is_worse]
    if len(equals) > 1:
        names = joined([title(numbers, rival.candidate) for rival in equals])
        lines.append(f"On these items it cannot be told apart from {names}.")
    if cheaper := _cheaper(numbers, found.best, equals):
        lines.append(cheaper)
    lines.append(_against_icl(numbers, found))
    return lines


def caveats(numbers: Numbers, limited: bool) -> list[str]:
    """What holds for every recommendation of a run."""
    study = numbers.run.plan.resolved.study
    chosen = "validation loss" if study.validation.select_by == "loss" else "validation EM@10"
    lines = [
        f"Each cell's hyperparameters were chosen by {chosen}. Test results here describe and rank the cells; the best "
        "of several looks a little better than it is.",
        f"Each point was trained once (seed {study.training.seed}): how much results vary between trainings is not in "
        "the intervals.",
    ]
    if limited and not numbers.run.manifest().gpus:
        lines.append(
            "Memory was measured without a GPU: it is the resident memory of a process, and says little about a card."
        )
    return lines


def _against_runner_up(numbers: Numbers, found: Recommendation) -> str:
    if not found.rivals:
        return "It is the only tested cell within the limits: there is nothing to compare it with."
    second = found.rivals[0]
    name = title(numbers, second.candidate)
    if second.p is None:
        gap = f"{points(second.difference).removeprefix('+')} points of EM@{numbers.k} above the runner-up {name}"
        return f"It is {gap}; their test items cannot be compared one by one, so nothing is known about chance."
    several = len([rival for rival in found.rivals if rival.p is not None])
    correction = f", corrected by Holm for {several} comparisons" if several > 1 else ""
    bounds = f", 95 % interval {interval(second.interval)}" if second.interval else ""
    test = f"McNemar's exact test on the same {found.items} items: {_p(second.p)}{correction}"
    gap = (
        f"Its EM@{numbers.k} is {points(second.difference).removeprefix('+')} points above that of the runner-up {name}"
    )
    verdict = (
        "The difference is supported." if second.is_worse else f"That supports no difference: {name} may do as well."
    )
    return f"{gap}{bounds} ({test}). {verdict}"


def _p(value: float) -> str:
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _cheaper(numbers: Numbers, best: Candidate, equals: list[Rival]) -> str | None:
    """Among those that may do as well, the one of least memory, and the one of least time, where they cost less."""
    others = [rival.candidate for rival in equals]
    parts = []
    with_memory = [one for one in others if one.memory_mib is not None]
    least = min(with_memory, key=lambda one: one.memory_mib or 0.0, default=None)
    if least and least.memory_mib and best.memory_mib and least.memory_mib < best.memory_mib:
        share = 100 * (1 - least.memory_mib / best.memory_mib)
        parts.append(f"{title(numbers, least)} takes {percent(share)} % less memory")
    fastest = min(others, key=lambda one: one.seconds, default=None)
    if fastest and fastest.seconds < best.seconds:
        parts.append(f"{title(numbers, fastest)} trains in {duration(fastest.seconds)}")
    return f"Of what may do as well, {joined(parts)}." if parts else None


def _against_icl(numbers: Numbers, found: Recommendation) -> str:
    assert found.best is not None
    if found.icl is None:
        return "The study has no result of in-context learning, the way without training, to compare with."
    row, value = found.icl
    model = numbers.run.plan.resolved.models[row.model].title
    reached = f"In-context learning with {row.shots} on {model} reaches {percent(value)} % without training"
    if value < found.best.value:
        return f"{reached}; raypeft report shows the test of that difference."
    return f"{reached}, which is not less: training may not be worth it here."
