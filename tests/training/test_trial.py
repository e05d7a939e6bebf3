"""A trial trains, reports, can be stopped anywhere and goes on undisturbed, and ends for a stated reason."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from raypeft.modeling.loading import Base, load_base
from raypeft.runs.records import Message
from raypeft.spec.plan import Plan
from raypeft.training.data import TrialData, trial_data
from raypeft.training.trial import train
from raypeft.training.validation import validation_loss
from tests.conftest import MODELS

Report = dict[str, Any]
TIMES = (
    "training_seconds",
    "evaluation_seconds",
    "items_per_second",
    "peak_memory_mib",
    "training_memory_mib",
    "decoding_memory_mib",
    "training_reserved_mib",
    "decoding_reserved_mib",
)


@pytest.fixture(scope="module")
def bases(small_plan: Plan) -> dict[str, Base]:
    return {name: load_base(name, small_plan.resolved.models[name], "auto") for name in MODELS}


@pytest.fixture(scope="module")
def data(small_plan: Plan, bases: dict[str, Base]) -> dict[str, TrialData]:
    return {name: trial_data(small_plan, base, "snippets") for name, base in bases.items()}


def run(
    plan: Plan, base: Base, data: TrialData, technique: str, folder: Path, *, stop_at: int | None = None, **point: Any
) -> list[Report]:
    """Train and collect the reports; `stop_at` stops the trial as Ray does, from inside its report."""
    reports: list[Report] = []

    def emit(said: Message) -> None:
        report = said.content()
        reports.append(report)
        if report["report"] == stop_at:
            raise SystemExit(0)

    spec = plan.resolved.techniques[technique]
    try:
        train(plan, base, data, spec, {**spec.paper, **point}, folder, emit)
    except SystemExit:
        assert stop_at is not None
    return reports


def timeless(report: Report) -> Report:
    return {key: value for key, value in report.items() if key not in TIMES}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("technique", "rate"), [("lora", 3e-3), ("full", 5e-4)])
def test_reports_of_a_whole_trial(
    small_plan: Plan,
    bases: dict[str, Base],
    data: dict[str, TrialData],
    model: str,
    technique: str,
    rate: float,
    tmp_path: Path,
) -> None:
    reports = run(small_plan, bases[model], data[model], technique, tmp_path, learning_rate=rate)
    # 40 items in batches of 8, 2 epochs: 10 steps, 5 reports, one before training
    assert [report["report"] for report in reports] == [0, 1, 2, 3, 4, 5]
    assert [report["step"] for report in reports] == [0, 2, 4, 6, 8, 10]
    assert [report["epoch"] for report in reports] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6, 2.0])
    assert reports[-1]["validation_loss"] < reports[0]["validation_loss"]
    assert [report.get("end") for report in reports] == [None] * 5 + ["finished"]
    for index, report in enumerate(reports):
        assert report["best_loss"] == min(earlier["validation_loss"] for earlier in reports[: index + 1])
        new_best = index == 0 or report["validation_loss"] < reports[index - 1]["best_loss"]
        assert report["em@10_computed"] == (new_best or index in (2, 4, 5))  # rungs at 2 and 4, and the last
        if not report["em@10_computed"]:
            assert report["em@10"] == reports[index - 1]["em@10"]
    assert reports[-1]["training_seconds"] > 0 and reports[-1]["peak_memory_mib"] > 50


def test_em_is_computed_at_each_report_where_it_selects(
    small_plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    """Else the checkpoint of highest EM@10 might be one whose loss was not the lowest so far, and so never selected."""
    study = small_plan.resolved.study
    by_em = study.model_copy(update={"validation": study.validation.model_copy(update={"select_by": "em@10"})})
    plan = Plan(small_plan.resolved.model_copy(update={"study": by_em}))
    reports = run(plan, bases["tiny-decoder"], data["tiny-decoder"], "lora", tmp_path, stop_at=3, learning_rate=1.0)
    assert all(report["em@10_computed"] for report in reports)
    assert any(report["validation_loss"] > report["best_loss"] for report in reports if report["report"] in (1, 3))


def test_checkpoints_are_best_and_last_and_hold_the_adapter_alone(
    small_plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    reports = run(
        small_plan, bases["tiny-decoder"], data["tiny-decoder"], "lora", tmp_path, stop_at=3, learning_rate=1e-3
    )
    best = min(reports, key=lambda report: report["validation_loss"])
    kept = {json.loads(marker.read_text())["report"] for marker in tmp_path.glob("checkpoint-*/report.json")}
    assert best["report"] == 3  # the last is the best, so the one before it is kept too
    assert kept == {2, 3}
    newest = tmp_path / "checkpoint-6"
    assert (newest / "optimizer.pt").exists() and (newest / "scheduler.pt").exists()
    assert (newest / "adapter_model.safetensors").stat().st_size < 1_000_000
    assert not (newest / "model.safetensors").exists()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("technique", ["full", "lora", "ia3", "prompt_tuning", "prefix_tuning"])
def test_a_stopped_trial_goes_on_as_if_undisturbed(
    small_plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], model: str, technique: str, tmp_path: Path
) -> None:
    """Optimiser, schedule, data order and dropout go on from the checkpoint: the losses are equal to the last bit."""
    base, items = bases[model], data[model]
    whole = run(small_plan, base, items, technique, tmp_path / "whole", learning_rate=3e-3)
    first = run(small_plan, base, items, technique, tmp_path / "parts", stop_at=3, learning_rate=3e-3)
    second = run(small_plan, base, items, technique, tmp_path / "parts", learning_rate=3e-3)
    assert [timeless(report) for report in first] == [timeless(report) for report in whole[:4]]
    assert [timeless(report) for report in second] == [timeless(report) for report in whole[3:]]


def test_a_reused_base_gives_the_trial_of_a_fresh_one(
    small_plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    base, items = bases["tiny-decoder"], data["tiny-decoder"]
    run(small_plan, base, items, "lora", tmp_path / "before", stop_at=2, learning_rate=3e-3)
    run(small_plan, base, items, "full", tmp_path / "before-too", stop_at=2, learning_rate=3e-3)
    used = run(small_plan, base, items, "ia3", tmp_path / "used")
    fresh_base = load_base("tiny-decoder", small_plan.resolved.models["tiny-decoder"], "auto")
    fresh = run(small_plan, fresh_base, items, "ia3", tmp_path / "fresh")
    assert [timeless(report) for report in used] == [timeless(report) for report in fresh]


def test_a_finished_trial_only_repeats_its_last_report(
    small_plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    arguments = (small_plan, bases["tiny-decoder"], data["tiny-decoder"], "lora", tmp_path)
    reports = run(*arguments)
    assert run(*arguments) == [reports[-1]]


def test_an_unsealed_checkpoint_is_not_gone_on_from(
    small_plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    arguments = (small_plan, bases["tiny-decoder"], data["tiny-decoder"], "lora", tmp_path)
    run(*arguments, stop_at=2)
    torn = tmp_path / "checkpoint-6"
    torn.mkdir()
    (torn / "adapter_model.safetensors").write_bytes(b"torn")
    assert [report["report"] for report in run(*arguments)] == [2, 3, 4, 5]


def test_nan_ends_the_trial(
    small_plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path
) -> None:
    lent = bases["tiny-decoder"].model
    reports = run(small_plan, bases["tiny-decoder"], data["tiny-decoder"], "full", tmp_path, learning_rate=1e30)
    assert reports[-1]["end"] == "nan"
    assert reports[-1]["report"] < 5
    assert bases["tiny-decoder"].loaded is lent, "the base is kept"
    assert all(math.isfinite(report["validation_loss"]) for report in reports)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_running_out_of_memory_ends_the_trial(
    small_plan: Plan,
    bases: dict[str, Base],
    data: dict[str, TrialData],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    calls = 0
    step = torch.nn.Module.zero_grad

    def fail(*arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise error
        step(*arguments, **options)

    monkeypatch.setattr(torch.nn.Module, "zero_grad", fail)
    reports = run(small_plan, bases["tiny-decoder"], data["tiny-decoder"], "lora", tmp_path)
    assert [report.get("end") for report in reports][-1] == "oom"
    assert reports[-1]["report"] == 1


def test_another_fault_is_not_taken_for_a_lack_of_memory(
    small_plan: Plan, bases: dict[str, Base], data: dict[str, TrialData], tmp_path: Path, monkeypatch: Any
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(torch.nn.Module, "zero_grad", fail)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        run(small_plan, bases["tiny-decoder"], data["tiny-decoder"], "lora", tmp_path)


@pytest.mark.parametrize("model", MODELS)
def test_validation_loss_is_the_mean_over_target_tokens(
    bases: dict[str, Base], data: dict[str, TrialData], model: str
) -> None:
    """Against log-probabilities summed item by item, unpadded, straight from the logits; in fp32 also on a GPU."""
    base, items = load_base(model, bases[model].entry, "fp32"), data[model].validation
    total, count = 0.0, 0
    for item in items:
        target = torch.tensor(item.target, device=base.device)
        with torch.no_grad():
            if base.entry.architecture == "decoder":
                logits = base.model(input_ids=torch.tensor([item.prompt + item.target], device=base.device)).logits[0]
                logits = logits[len(item.prompt) - 1 : -1]
            else:
                prompt = torch.tensor([item.prompt], device=base.device)
                logits = base.model(input_ids=prompt, labels=target[None]).logits[0]
        total -= float(logits.log_softmax(-1).gather(1, target[:, None]).sum())
        count += len(target)
    found = validation_loss(base.model, data[model].collator, items, bf16=False)
    assert found == pytest.approx(total / count, abs=1e-5)
