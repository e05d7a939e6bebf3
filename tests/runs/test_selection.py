"""Selection: the best checkpoint of the best trial of a cell, from validation alone."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from raypeft.data import items, sources
from raypeft.evaluation.jobs import jobs_of
from raypeft.output.files import append_line, read_json, write_json, write_text
from raypeft.pipeline import failures
from raypeft.runs.checkpoints import best, last, prune, rank_key, seal, with_weights
from raypeft.runs.folder import Run
from raypeft.runs.records import Message
from raypeft.runs.selection import select, stands
from raypeft.spec.plan import Cell
from raypeft.spec.resolve import resolve
from raypeft.sweep.keeping import keep_best

CELL = Cell("tiny-decoder", "snippets", "lora")
OTHER = Cell("tiny-decoder", "snippets", "ia3")
WEIGHTS = ("adapter_model.safetensors", "adapter_config.json")
TRAINER = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin", "README.md")


def new_run(folder: Path, *settings: str) -> Run:
    resolved = resolve(
        "quickstart",
        models=["tiny-decoder"],
        techniques=["lora", "ia3"],
        trials=3,
        settings=settings,
    )
    write_text(folder / "study.yaml", resolved.dump())
    return Run(folder)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return new_run(tmp_path)


def report(number: int, loss: float | None, em: float = 0.0, computed: bool = True) -> Message:
    return Message(report=number, validation_loss=loss, em10=em, em10_computed=computed)


def checkpoint(run: Run, cell: Cell, number: int, row: Message) -> Path:
    """A sealed checkpoint whose weights name it."""
    folder = run.trial_folder(cell.trial_name(number)) / f"checkpoint-{row.report * 16}"
    for name in (*WEIGHTS, *TRAINER):
        write_text(folder / name, f"{number}/{row.report}/{name}")
    seal(folder, row)
    return folder


def ended(run: Run, number: int, reports: Sequence[Message], state: str = "finished", cell: Cell = CELL) -> None:
    for row in reports:
        checkpoint(run, cell, number, row)
    select_by = run.plan.resolved.study.validation.select_by
    top = min(reports, key=lambda row: rank_key(row, select_by), default=report(3, 1.0))
    append_line(
        run.trials_file,
        {
            "trial": cell.trial_name(number),
            "cell": cell.id,
            "number": number,
            "state": state,
            "best_report": top.report,
            "best_loss": top.validation_loss,
            "best_em@10": top.em10,
            "hyperparameters": {"r": number},
            "paper_point": number == 0,
            "training_seconds": 10.0 + number,
            "peak_memory_mib": 512.0,
            "training_memory_mib": 512.0,
            "training_reserved_mib": None,
            "decoding_memory_mib": 400.0,
            "decoding_reserved_mib": None,
            "micro_batch": 4,
            "decode_batch": 16,
            "gradient_checkpointing": False,
            "trainable_parameters": 100,
            "parameters": 1000,
        },
    )


def chosen(run: Run, cell: Cell = CELL) -> str:
    """Which trial and report the weights in `best/` come from."""
    name = "adapter_model.safetensors"
    return (run.cell_folder(cell) / "best" / name).read_text().removesuffix(f"/{name}")


def test_the_checkpoint_of_lowest_validation_loss_is_selected(run: Run) -> None:
    ended(run, 0, [report(0, 2.0), report(5, 1.5)], "stopped")
    ended(run, 1, [report(3, 0.7, 25.0), report(9, 0.9, 75.0)])
    ended(run, 2, [report(25, 0.8)])
    selection = select(run)[CELL]
    assert chosen(run) == "1/3"
    content = read_json(run.cell_folder(CELL) / "selection.json")
    assert selection.content() == content and selection == run.selection(CELL)
    assert sorted(content.pop("files")) == sorted(WEIGHTS)
    assert content == {
        "format": 1,
        "cell": "tiny-decoder/snippets/lora",
        "trial": "tiny-decoder·lora·snippets·001",
        "number": 1,
        "hyperparameters": {"r": 1},
        "paper_point": False,
        "checkpoint_report": 3,
        "validation_loss": 0.7,
        "em@10": 25.0,
        "training_seconds": 11.0,
        "peak_memory_mib": 512.0,
        "training_memory_mib": 512.0,
        "training_reserved_mib": None,
        "decoding_memory_mib": 400.0,
        "decoding_reserved_mib": None,
        "micro_batch": 4,
        "decode_batch": 16,
        "gradient_checkpointing": False,
        "trainable_parameters": 100,
        "parameters": 1000,
        "select_by": "loss",
        "considered": 3,
        "trials": {"stopped": 1, "finished": 2},
    }


def test_weights_are_copied_and_nothing_of_the_trainer(run: Run) -> None:
    write_text(run.cell_folder(CELL) / "best" / "stale.safetensors", "of an interrupted selection")
    for number in range(3):
        ended(run, number, [report(1, 1.0)])
    select(run)
    assert sorted(path.name for path in (run.cell_folder(CELL) / "best").iterdir()) == sorted(WEIGHTS)


def test_of_equal_trials_the_earlier_is_selected_whatever_ended_first(run: Run) -> None:
    ended(run, 2, [report(1, 0.5)])
    ended(run, 1, [report(4, 0.5), report(2, 0.5)])
    ended(run, 0, [report(1, 0.6)])
    select(run)
    assert chosen(run) == "1/2"


def test_trials_that_failed_are_not_considered(run: Run) -> None:
    ended(run, 0, [report(1, 0.1)], "nan")
    ended(run, 1, [report(1, 0.2)], "oom")
    ended(run, 2, [report(1, 0.9)], "stopped")
    selection = select(run)[CELL]
    assert (selection.number, selection.considered) == (2, 1)
    assert selection.trials == {"nan": 1, "oom": 1, "stopped": 1}


def test_a_cell_without_a_usable_trial_says_why(run: Run) -> None:
    ended(run, 0, [report(1, 0.1)], "nan")
    ended(run, 1, [], "oom")
    ended(run, 2, [], "oom")
    assert {cell: selection.content() for cell, selection in select(run).items()} == {
        CELL: {
            "format": 1,
            "cell": "tiny-decoder/snippets/lora",
            "trial": None,
            "reason": "no trial could be used: 1 nan, 2 oom",
            "trials": {"nan": 1, "oom": 2},
        }
    }
    assert run.selection(CELL) is not None
    assert not (run.cell_folder(CELL) / "best").exists()


def test_a_cell_waits_for_all_its_trials(run: Run) -> None:
    for number in range(3):
        ended(run, number, [report(1, 1.0)], cell=OTHER)
    ended(run, 0, [report(1, 1.0)])
    ended(run, 1, [report(1, 1.0)])
    assert list(select(run)) == [OTHER]
    assert run.selection(CELL) is None
    ended(run, 2, [report(1, 1.0)])
    assert set(select(run)) == {CELL, OTHER}


def test_a_selection_once_made_stands(run: Run) -> None:
    for number in range(3):
        ended(run, number, [report(1, 1.0 + number)])
    first = select(run)
    checkpoint(run, CELL, 2, report(9, 0.01))
    assert select(run) == first
    assert chosen(run) == "0/1"


def test_selection_by_exact_match_takes_the_highest_that_was_computed(tmp_path: Path) -> None:
    run = new_run(tmp_path, "validation.select_by=em@10")
    ended(run, 0, [report(1, 0.5, 40.0), report(2, 0.4, 90.0, computed=False)])
    ended(run, 1, [report(1, 0.9, 50.0), report(2, 0.8, 50.0), report(3, 0.7, 45.0)])
    ended(run, 2, [report(1, 0.8, 50.0), report(2, 0.1, 0.0)])
    selection = select(run)[CELL]
    assert chosen(run) == "1/2"
    assert (selection.em10, selection.validation_loss, selection.select_by) == (50.0, 0.8, "em@10")


def test_only_a_better_checkpoint_is_missed(tmp_path: Path) -> None:
    """Better is what the study selects by: a lower loss with a lower EM@10 is not, when EM@10 decides."""
    run = new_run(tmp_path, "validation.select_by=em@10")
    ended(run, 0, [report(1, 0.9, 50.0)])
    ended(run, 1, [report(1, 0.5, 40.0)])
    ended(run, 2, [report(1, 0.8, 60.0)])
    for number in (1, 2):
        shutil.rmtree(run.trial_folder(CELL.trial_name(number)) / "checkpoint-16")
    assert select(run)[CELL].notice.endswith(f"since the checkpoint of report 1 of {CELL.trial_name(2)} is gone")
    assert chosen(run) == "0/1"


@pytest.mark.parametrize("select_by", ["loss", "em@10"])
def test_what_is_kept_is_what_is_selected(tmp_path: Path, select_by: str) -> None:
    """The best by loss is report 9 of trial 1, by exact match report 1 of trial 0; the best of all ended as `oom`."""
    run = new_run(tmp_path, f"validation.select_by={select_by}", "search.trials=4")
    ended(run, 0, [report(1, 2.0, 60.0), report(5, 1.5)], "stopped")
    ended(run, 1, [report(3, 0.9, 25.0), report(9, 0.7, 50.0)])
    ended(run, 2, [report(2, 0.1, 100.0)], "oom")
    going_on = [checkpoint(run, CELL, 3, report(4, 3.0)), checkpoint(run, OTHER, 0, report(1, 0.5))]
    keep_best(run, [end for end in run.trials() if end.cell == CELL.id])
    best = run.trial_folder(CELL.trial_name(1 if select_by == "loss" else 0))
    best /= "checkpoint-144" if select_by == "loss" else "checkpoint-16"
    assert set(run.folder.glob("trials/*/checkpoint-*")) == {best, *going_on}
    ended(run, 3, [report(6, 2.5)])
    selection = select(run)[CELL]
    assert chosen(run) == ("1/9" if select_by == "loss" else "0/1") and selection.notice is None


def test_of_equal_checkpoints_the_earliest_is_kept(run: Run) -> None:
    """Folder names do not sort by step: 48 comes before 144."""
    ended(run, 1, [report(1, 0.7)])
    ended(run, 0, [report(9, 0.5), report(3, 0.5)])
    keep_best(run, run.trials())
    assert [path.name for path in run.folder.glob("trials/*/checkpoint-*")] == ["checkpoint-48"]


def test_nothing_is_kept_of_trials_that_cannot_be_used(run: Run) -> None:
    ended(run, 0, [report(1, 0.5)], "error")
    keep_best(run, run.trials())
    assert list(run.folder.glob("trials/*/checkpoint-*")) == []


def test_selection_reads_no_data(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **further: Any) -> None:
        raise AssertionError("selection must not read any split")

    monkeypatch.setattr(sources, "load_split", refuse)
    monkeypatch.setattr(sources, "read_split", refuse)
    monkeypatch.setattr(items, "read_items", refuse)
    monkeypatch.setattr(sources, "read_items", refuse)
    for number in range(3):
        ended(run, number, [report(1, 1.0 - number / 10)])
    write_json(run.cell_folder(CELL) / "test.json", {"metrics": {"em@10": 100.0}})
    select(run)
    assert chosen(run) == "2/1"


def test_a_cell_without_an_intact_checkpoint_is_a_failed_one_until_one_is_restored(run: Run) -> None:
    for number in range(3):
        ended(run, number, [])
        ended(run, number, [report(1, 1.0)], cell=OTHER)
    selection = select(run)[CELL]
    assert selection.trial is None and len(selection.lost) == 3
    other = run.selection(OTHER)
    assert other is not None and other.number == 0  # the other cell goes on, and is tested
    assert [job.target for job in jobs_of(run.plan, run) if job.kind == "test"] == [OTHER]
    assert failures(run) == [f"{CELL.id}: {selection.reason}"]
    assert "the checkpoint of report 3 of tiny-decoder·lora·snippets·000 is gone" in str(selection.reason)
    assert stands(run, CELL, selection)
    checkpoint(run, CELL, 1, report(3, 0.7))
    assert not stands(run, CELL, selection)
    assert select(run)[CELL].number == 1


def test_an_unsealed_checkpoint_does_not_count(run: Run) -> None:
    checkpoint_1 = checkpoint(run, CELL, 0, report(1, 0.5))
    folder = checkpoint_1.parent
    write_text(folder / "checkpoint-99" / "adapter_model.safetensors", "half written")
    write_text(folder / "checkpoint-98" / "report.json", '{"report": 9')
    assert [(one.path, one.report) for one in with_weights(folder)] == [(checkpoint_1, report(1, 0.5))]
    assert best(folder, "loss") == last(folder) == with_weights(folder)[0]
    assert best(folder / "absent", "loss") is last(folder / "absent") is None


def test_the_best_and_the_last_checkpoint_are_kept(run: Run) -> None:
    found = [checkpoint(run, CELL, 0, report(n, loss)) for n, loss in enumerate([2.0, 0.5, 0.5, 0.7, 0.6])]
    prune(found[0].parent, "loss")
    assert sorted(found[0].parent.iterdir()) == [found[1], found[4]]
    newest = last(found[0].parent)
    assert newest and (newest.path, newest.report) == (found[4], report(4, 0.6))


def test_reports_stand_in_the_order_of_their_numbers(run: Run) -> None:
    for number in (10, 9, 2):
        checkpoint(run, CELL, 0, report(number, 1.0))
    assert [one.order[0] for one in with_weights(run.trial_folder(CELL.trial_name(0)))] == [2, 9, 10]
