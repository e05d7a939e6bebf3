"""What of a plan is done, and what of it other runs have."""

from pathlib import Path

import pytest

from benchmarks.recording import Recorder, block
from raypeft.estimate.cost import Cost
from raypeft.runs.folder import Run
from raypeft.runs.outlook import Outlook, outlook
from raypeft.runs.reuse import reuse
from raypeft.spec.plan import Plan
from tests.runs.test_reuse import IA3, JOB, LORA, finish_lora, source, start

__all__ = ["source"]


class Priced(Cost):
    """Every trial takes ten seconds, a test three and an in-context-learning run two."""

    def trial_seconds(self, *arguments: object) -> float:
        return 10.0

    def test_seconds(self, *arguments: object) -> float:
        return 3.0

    def icl_seconds(self, *arguments: object) -> float:
        return 2.0


def seconds_left(run: Run, found: Outlook) -> float:
    return found.seconds_left(Priced(run.plan))


def test_of_a_new_run_everything_is_left(tmp_path: Path) -> None:
    run = start(tmp_path / "first")
    found = outlook(run.plan, run, [], ())
    assert (found.trials, found.jobs, found.offers, found.changes) == (0, 0, [], [])
    assert seconds_left(run, found) == 6 * 10 + 2 * 3 + 2 * 2


def test_what_a_run_has_done_is_not_left(source: Run) -> None:
    """Of IA3 one trial of three, of LoRA all with the test, and one of two in-context-learning runs."""
    found = outlook(source.plan, source, [], ())
    assert (dict(found.ended), found.trials, found.jobs) == ({LORA.id: 3, IA3.id: 1}, 4, 2)
    assert seconds_left(source, found) == 2 * 10 + 3 + 2
    assert seconds_left(source, outlook(source.plan, None, [], ())) == 6 * 10 + 2 * 3 + 2 * 2


@pytest.mark.parametrize("begun", [False, True])
def test_what_other_runs_offer_is_what_is_taken(source: Run, tmp_path: Path, begun: bool) -> None:
    """The same before a run has a manifest and with it; what it then takes is counted as done."""
    run = start(tmp_path / "second", question="Another?")
    plan = run.plan
    found = outlook(plan, run if begun else None, [source], ())
    (offer,) = found.offers
    assert (offer.folder, offer.cells, offer.jobs) == (source.folder, [LORA], [JOB])
    assert offer.text(names=False) == "1 cell and 1 in-context-learning run"
    assert (found.trials, found.jobs) == (0, 0)
    assert seconds_left(run, found) == 3 * 10 + 3 + 2
    assert reuse(run, [source]) != []
    after = outlook(plan, run, [source], ())
    assert (after.offers, after.trials, after.jobs) == ([], 3, 2)
    assert seconds_left(run, after) == 3 * 10 + 3 + 2


def test_each_cell_is_offered_once(source: Run, tmp_path: Path) -> None:
    second = start(tmp_path / "second")
    finish_lora(second)
    Recorder(second).icl(JOB, block(1.0, 2.0, 3.0, 4.0))
    found = outlook(source.plan, None, [source, second], ())
    assert [(offer.folder.name, offer.cells, offer.jobs) for offer in found.offers] == [("first", [LORA], [JOB])]


def test_what_cannot_be_read_here_is_not_compared(source: Run, tmp_path: Path) -> None:
    plan = start(tmp_path / "second").plan
    assert outlook(plan, None, [source], {"tiny-decoder"}).offers == []
    assert outlook(plan, None, [source], {"snippets"}).offers == []


def test_of_another_version_of_the_study_nothing_counts(source: Run, tmp_path: Path) -> None:
    changed = start(tmp_path / "studies" / "other", "training.epochs=2").plan
    found = outlook(changed, source, [source], ())
    assert any(change.startswith("training.epochs: was 3") for change in found.changes)
    assert (found.trials, found.jobs, found.offers) == (0, 0, [])
    more = Plan(start(tmp_path / "more", "search.trials=5").plan.resolved.model_copy(update={"name": "first"}))
    found = outlook(more, source, [], ())
    assert (found.changes, found.trials) == ([], 4)
    assert found.seconds_left(Priced(more)) == (2 + 4) * 10 + 3 + 2


def test_a_study_that_cannot_be_read_is_a_change(source: Run) -> None:
    plan = source.plan
    source.study_file.write_text("question: [")
    assert outlook(plan, Run(source.folder), [], ()).changes != []
