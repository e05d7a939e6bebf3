"""The answer of a study in two sentences, which claim a difference only where its corrected test supports it."""

from raypeft.report.answer import beside_icl, joint, models, techniques
from raypeft.report.answer.wording import caution
from raypeft.report.numbers.gather import Numbers

__all__ = ["answer"]

# In the order of what a study is about: the first two that it has something to say on make its answer.
_SUBJECTS = (joint.sentence, techniques.sentence, beside_icl.sentence, models.sentence)


def answer(numbers: Numbers) -> list[str]:
    """At most two sentences: of joint training, techniques, in-context learning and models, what the study is about."""
    if not numbers.measured:
        return _nothing_yet(numbers)
    found = [text for tell in _SUBJECTS if (text := tell(numbers)) is not None][:2]
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
