"""A few hundred mutated inputs of every kind; `python -m tests.fuzz` tries more."""

from itertools import islice
from pathlib import Path

from tests.fuzz.kinds import drawn
from tests.fuzz.running import fault, run

CASES, SEED = 500, 16


def test_mutated_input_is_refused_in_one_message(tmp_path: Path) -> None:
    wrong = [
        f"--only {kind} --seed {SEED} --skip {number} --cases 1: {case.label}\n{found}"
        for kind, number, case in islice(drawn(SEED, tmp_path), CASES)
        if (found := fault(case, run(case))) is not None
    ]
    assert not wrong, "\n\n".join(wrong[:10])
