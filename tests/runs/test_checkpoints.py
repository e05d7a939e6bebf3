"""Sealed checkpoints: any damage is noticed, and a trial goes on from the one before with the same results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raypeft.modeling.loading import Base, load_base
from raypeft.runs.checkpoints import last, last_intact, prune, seal, sealed, with_weights
from raypeft.runs.records import Message, Since
from raypeft.spec.plan import Plan
from raypeft.training.data import TrialData, trial_data
from raypeft.training.trial import train
from tests.said import message

Report = dict[str, Any]
VARYING = ("training_seconds", "evaluation_seconds", "items_per_second", "notice")
FILES = {"adapter_model.safetensors": b"weights" * 100, "optimizer.pt": b"state" * 100}


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def corrupt(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


FAULTS = {
    "truncated": truncate,
    "corrupted": corrupt,
    "deleted": Path.unlink,
    "emptied": lambda file: file.write_text(""),
}


def written(folder: Path, number: int, since: Since | None = None) -> Path:
    checkpoint = folder / f"checkpoint-{since.step if since else 10 * number}"
    checkpoint.mkdir(parents=True)
    for name, content in FILES.items():
        (checkpoint / name).write_bytes(content)
    report = Message(report=number, validation_loss=5.0 - number, em10=0.0, em10_computed=True)
    seal(checkpoint, report, since)
    return checkpoint


@pytest.mark.parametrize("name", [*FILES, "report.json"])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_one_before_stands_in_for_a_damaged_checkpoint(tmp_path: Path, name: str, fault: str) -> None:
    first, second = written(tmp_path, 1), written(tmp_path, 2)
    damage: Callable[[Path], Any] = FAULTS[fault]
    damage(second / name)
    found, faults = last_intact(tmp_path)
    assert found is not None and found.path == first and found.order[0] == 1
    if name != "report.json":  # without it, a checkpoint was never sealed
        assert len(faults) == 1 and faults[0].startswith(f"checkpoint-20 is damaged ({name} ")
        assert not second.exists()
    damage(first / name)
    assert last_intact(tmp_path)[0] is None


def test_a_report_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    marker = written(tmp_path, 1) / "report.json"
    marker.write_text(marker.read_text().replace('"validation_loss": 4.0', '"validation_loss": 1.0'))
    assert sealed(tmp_path) == []


def test_a_checkpoint_between_reports_is_the_last_and_never_the_best(tmp_path: Path) -> None:
    written(tmp_path, 1)
    written(tmp_path, 2)
    between = written(tmp_path, 2, Since(step=23))
    newest = last(tmp_path)
    assert newest is not None and newest.path == between and newest.since == Since(step=23)
    assert [one.path.name for one in with_weights(tmp_path)] == ["checkpoint-10", "checkpoint-20"]
    prune(tmp_path, "loss")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-20", "checkpoint-23"]


def test_where_best_and_last_are_one_the_one_before_is_kept(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        written(tmp_path, number)
        prune(tmp_path, "loss")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-20", "checkpoint-30"]


@pytest.fixture(scope="module")
def base(small_plan: Plan) -> Base:
    return load_base("tiny-decoder", small_plan.resolved.models["tiny-decoder"], "auto")


@pytest.fixture(scope="module")
def data(small_plan: Plan, base: Base) -> TrialData:
    return trial_data(small_plan, base, "snippets")


@pytest.fixture(scope="module")
def trainer(small_plan: Plan, base: Base, data: TrialData) -> Callable[..., list[Report]]:
    """Trains one trial of ten steps and five reports in a folder; may be asked to stop after a number of steps."""

    def run(
        folder: Path, *, technique: str = "lora", steps: int | None = None, stop_at: int | None = None
    ) -> list[Report]:
        reports: list[Report] = []
        left = [steps]

        def asked() -> bool:
            if left[0] is None:
                return False
            left[0] -= 1
            return left[0] <= 0

        def emit(said: Message) -> None:
            report = said.content()
            reports.append(report)
            if report["report"] == stop_at:
                raise SystemExit

        spec = small_plan.resolved.techniques[technique]
        point = {**spec.paper, "learning_rate": 3e-3}
        try:
            train(small_plan, base, data, spec, point, folder, emit, asked_to_stop=asked)
        except SystemExit:
            assert stop_at is not None
        return reports

    return run


def steady(reports: list[Report]) -> list[Report]:
    return [
        {key: value for key, value in report.items() if key not in VARYING and "_mib" not in key} for report in reports
    ]


@pytest.fixture(scope="module")
def whole(trainer: Callable[..., list[Report]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Report]]:
    folder = tmp_path_factory.mktemp("whole")
    return {name: steady(trainer(folder / name, technique=name)) for name in ("lora", "full", "prompt_tuning")}


@pytest.mark.parametrize("technique", ["lora", "full", "prompt_tuning"])
@pytest.mark.parametrize("steps", [1, 3, 6, 9])
def test_a_trial_stopped_between_two_reports_goes_on_as_if_undisturbed(
    trainer: Callable[..., list[Report]],
    base: Base,
    whole: dict[str, list[Report]],
    technique: str,
    steps: int,
    tmp_path: Path,
) -> None:
    """Stopped after any step, also in the middle of an epoch; nothing is trained again, losses are equal to the bit."""
    lent = base.model
    first = trainer(tmp_path, technique=technique, steps=steps)
    assert base.loaded is lent, "the base is kept"
    assert first[-1]["end"] == "paused" and first[-1]["report"] == steps // 2
    newest = last(tmp_path)
    assert newest is not None and newest.path.name == f"checkpoint-{steps}"
    second = trainer(tmp_path, technique=technique)
    assert steady(first[:-1]) == whole[technique][: steps // 2 + 1]
    assert steady(second) == whole[technique][steps // 2 :]


def test_a_trial_that_died_in_an_evaluation_does_not_train_again(
    trainer: Callable[..., list[Report]],
    whole: dict[str, list[Report]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from raypeft.training import reporter

    trainer(tmp_path, stop_at=2)
    evaluate = reporter.validation_loss
    with monkeypatch.context() as patched:
        patched.setattr(reporter, "validation_loss", lambda *arguments, **further: die())
        with pytest.raises(KeyboardInterrupt):
            trainer(tmp_path)
    newest = last(tmp_path)
    assert newest is not None and newest.since is not None and newest.since.step == 6
    calls: list[int] = []
    monkeypatch.setattr(reporter, "validation_loss", lambda *a, **k: calls.append(1) or evaluate(*a, **k))
    assert steady(trainer(tmp_path)) == whole["lora"][2:]
    assert len(calls) == 3


def die() -> None:
    raise KeyboardInterrupt


def test_a_trial_that_died_in_its_last_evaluation_only_evaluates(
    trainer: Callable[..., list[Report]], whole: dict[str, list[Report]], tmp_path: Path
) -> None:
    trainer(tmp_path)
    newest = last(tmp_path)
    assert newest is not None and newest.report.end == "finished"
    before = {**whole["lora"][4], "training_seconds": 1.0, "evaluation_seconds": 1.0}
    since = Since(step=10, training_seconds=2.0, evaluation_seconds=1.0)
    seal(newest.path, message(**before), since, newest.files)
    assert steady(trainer(tmp_path)) == whole["lora"][4:]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_trial_whose_last_checkpoint_is_damaged_repeats_what_it_was(
    trainer: Callable[..., list[Report]], whole: dict[str, list[Report]], fault: str, tmp_path: Path
) -> None:
    trainer(tmp_path, stop_at=4)
    FAULTS[fault](tmp_path / "checkpoint-8" / "optimizer.pt")  # type: ignore[operator]
    again = trainer(tmp_path)
    assert steady(again) == whole["lora"][3:]
    assert "checkpoint-8 is damaged (optimizer.pt" in again[0]["notice"]
    assert again[0]["notice"].endswith("goes on from checkpoint-6")
    assert [report for report in again[1:] if "notice" in report] == []


def test_a_trial_without_an_intact_checkpoint_begins_again(
    trainer: Callable[..., list[Report]], whole: dict[str, list[Report]], tmp_path: Path
) -> None:
    trainer(tmp_path, stop_at=2)
    for file in tmp_path.glob("checkpoint-*/adapter_model.safetensors"):
        truncate(file)
    again = trainer(tmp_path)
    assert steady(again) == whole["lora"]
    assert again[0]["notice"].endswith("goes on from its start")


def test_a_checkpoint_that_does_not_fit_the_disk_leaves_the_one_before(
    trainer: Callable[..., list[Report]],
    whole: dict[str, list[Report]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import errno

    from raypeft.execution.disk import is_full
    from raypeft.runs import checkpoints as checkpoint

    trainer(tmp_path, stop_at=2)

    def full(file: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "_synced", full)
        with pytest.raises(OSError) as caught:
            trainer(tmp_path)
    assert is_full(caught.value)
    assert steady(trainer(tmp_path)) == whole["lora"][2:]
