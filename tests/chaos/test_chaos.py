"""A study that is killed again and again ends like one that nobody disturbed."""

from itertools import pairwise
from pathlib import Path

import pytest

from tests.chaos.disturbed import Disturbed, attempts, outcome

pytestmark = pytest.mark.slow

SETTINGS = ("search.trials=2",)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    run = Disturbed(tmp_path_factory.mktemp("calm"), ["lora"], SETTINGS)
    run.finish()
    return run


def test_kills_of_driver_and_workers_change_nothing(undisturbed: Disturbed, tmp_path: Path) -> None:
    disturbed = Disturbed(tmp_path, ["lora"], SETTINGS)
    disturbed.disturb(seed=7, driver=3, worker=3)
    assert outcome(disturbed.run) == outcome(undisturbed.run)
    check(disturbed, 3, 3)


def check(disturbed: Disturbed, driver: int, worker: int) -> None:
    """Nothing lost, nothing done twice, nothing left behind."""
    kills = disturbed.figures.kills
    assert kills["worker SIGKILL"] == worker and kills.total() == driver + worker
    names = [row["trial"] for row in disturbed.run.trials()]
    assert len(names) == len(set(names)) == disturbed.run.plan.trials
    for name in names:
        known = [numbers for numbers in attempts(disturbed.run, name) if numbers]
        for before, after in pairwise(known):
            assert after[0] >= before[-1]  # goes on from its last report: less than an interval is done again
    assert list(disturbed.temporary.glob("raypeft-*")) == []
    assert {path.name for path in disturbed.home.iterdir()} <= {".cache", ".config"}
