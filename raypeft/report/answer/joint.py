"""What training on several data sets at once does to each of them."""

from raypeft.report.answer.wording import Difference, relation, standing
from raypeft.report.numbers.contrasts import joint_contrasts
from raypeft.report.numbers.gather import Numbers


def sentence(numbers: Numbers) -> str | None:
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
