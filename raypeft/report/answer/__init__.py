"""The answer of a study in two sentences, which claim a difference only where its corrected test supports it."""

from raypeft.report.answer import models, techniques
from raypeft.report.answer.wording import Difference, caution, relation, standing
from raypeft.report.numbers.contrasts import joint_contrasts
from raypeft.report.numbers.gather import Numbers

__all__ = ["answer"]


def answer(numbers: Numbers) -> list[str]:
    """At most two sentences: of joint training, techniques, in-context learning and models, what the study is about."""
    if not numbers.measured:
        return _nothing_yet(numbers)
    # In the order of what a study is about: the first two that it has something to say on make its answer.
    subjects = (_joint_training, techniques.sentence, _beside_icl, models.sentence)
    found = [text for tell in subjects if (text := tell(numbers)) is not None][:2]
    if numbers.tested < len(numbers.states):
        found[0] = f"With {numbers.tested} of {len(numbers.states)} cells tested: {found[0]}"
    found[-1] = f"{found[-1]}; {caution(numbers)}"
    return [f"{text[0].upper()}{text[1:]}." for text in found]


def _nothing_yet(numbers: Numbers) -> list[str]:
    ended = sum(trial.state != "running" for trial in numbers.trials)
    runs, jobs = sum(row.done for row in numbers.icl), len(numbers.run.plan.icl_jobs)
    icl = f" and {runs} of {jobs} in-context learning runs are done" if jobs else ""
    return [
        f"None of the {len(numbers.states)} cells has a test result, so there is no answer yet.",
        f"{ended} of {numbers.run.plan.trials} trials have ended{icl}.",
    ]


def _joint_training(numbers: Numbers) -> str | None:
    """How joint cells stand to those of the test set's own data; none without both."""
    found = [
        Difference(
            f"{numbers.technique(joint)}, {numbers.title(joint.cell.model, joint.cell.dataset, joint.test_set)}",
            (joint.metrics[numbers.metric] or 0.0) - (single.metrics[numbers.metric] or 0.0),
            relation(numbers, joint, single),
        )
        for joint, single in joint_contrasts(numbers)
    ]
    if not found:
        return None
    other = "that after training on the test set's own data alone"
    return standing(f"after joint training, EM@{numbers.k} on the test items was", other, found)


def _beside_icl(numbers: Numbers) -> str | None:
    """How the best techniques stand to the best numbers of examples; none where the study plans no such learning."""
    if not numbers.icl:
        return None
    found = [
        Difference(
            numbers.title(pair.model, pair.dataset, pair.test_set),
            gap,
            relation(numbers, pair.best[0], pair.best_icl),
            f", {pair.best_icl.shots}",
        )
        for pair in numbers.pairs
        if pair.best_icl is not None and (gap := pair.difference) is not None
    ]
    if not found:
        return "no in-context learning has a result to compare with yet"
    several = any(len(pair.cells) > 1 for pair in numbers.pairs)
    who = "the best technique's" if several else "tuning's"
    return standing(f"{who} EM@{numbers.k} was", "that of in-context learning at its best number of examples", found)
