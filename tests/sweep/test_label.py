"""A running trial is an actor of its own name in Ray's state API, which the dashboard's actor list shows."""

import time

import ray

from raypeft.runs.records import Report
from raypeft.sweep.label import Labels

NAME = "tiny-decoder·lora·snippets·003"


def alive() -> set[str]:
    return set(ray.util.list_named_actors())


def test_a_trial_is_shown_under_its_name_while_it_runs(ray_session: None) -> None:
    labels = Labels()
    labels.show(NAME)
    labels.show(NAME)
    labels.reported(Report(trial=NAME, cell="c", number=0, report=1, validation_loss=1.5, em10=0.0))
    labels.reported(Report(trial="another", cell="c", number=0, report=1, validation_loss=1.5, em10=0.0))
    assert alive() == {NAME}
    labels.remove(NAME)
    labels.remove(NAME)
    deadline = time.monotonic() + 20
    while alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive() == set()
