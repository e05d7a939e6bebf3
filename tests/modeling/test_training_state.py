"""Techniques whose adapter file is not all that training needs, and what peft does to their training."""

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from raypeft.modeling.adapters import adapted
from raypeft.modeling.fingerprint import FILE
from raypeft.runs.records import Message
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from raypeft.training.data import TrialData, trial_data
from raypeft.training.trial import train
from raypeft.training.validation import validation_loss
from tests.conftest import MODELS
from tests.modeling.conftest import SHORT, Bases
from tests.training.test_trial import TIMES

Report = dict[str, Any]


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Ten steps and five reports: AdaLoRA's schedule begins to prune after two steps and ends after five."""
    settings = [*SHORT, "techniques=[adalora, p_tuning, lora, prefix_tuning]"]
    return Plan(resolve("quickstart", settings=settings))


@pytest.fixture(scope="module")
def data(plan: Plan, bases: Bases) -> dict[str, TrialData]:
    return {name: trial_data(plan, bases(name, "lora"), "snippets") for name in MODELS}


def run(
    plan: Plan, bases: Bases, data: TrialData, model: str, technique: str, folder: Path, stop_at: int = -1
) -> list[Report]:
    """Reports of a trial, without times; `stop_at` stops it from inside its report as Ray does."""
    reports: list[Report] = []

    def emit(said: Message) -> None:
        report = said.content()
        reports.append({key: value for key, value in report.items() if key not in TIMES})
        if report["report"] == stop_at:
            raise SystemExit(0)

    spec = plan.resolved.techniques[technique]
    try:
        train(plan, bases(model, technique), data, spec, {**spec.paper, "learning_rate": 5e-3}, folder, emit)
    except SystemExit:
        assert stop_at >= 0
    return reports


@pytest.mark.parametrize(("technique", "stop_at"), [("adalora", 2), ("adalora", 4), ("p_tuning", 2)])
@pytest.mark.parametrize("model", MODELS)
def test_a_stopped_trial_goes_on_as_if_undisturbed(
    plan: Plan, bases: Bases, data: dict[str, TrialData], model: str, technique: str, stop_at: int, tmp_path: Path
) -> None:
    whole = run(plan, bases, data[model], model, technique, tmp_path / "whole")
    run(plan, bases, data[model], model, technique, tmp_path / "parts", stop_at)
    assert run(plan, bases, data[model], model, technique, tmp_path / "parts") == whole[stop_at:]
    assert len({report["validation_loss"] for report in whole}) == len(whole)


@pytest.mark.parametrize("technique", ["adalora", "p_tuning"])
def test_the_adapter_file_alone_serves_peft(
    plan: Plan, bases: Bases, data: dict[str, TrialData], technique: str, tmp_path: Path
) -> None:
    """peft's own loading for inference against ours for training, from the same folder."""
    run(plan, bases, data["tiny-decoder"], "tiny-decoder", technique, tmp_path)
    (checkpoint,) = tmp_path.glob("checkpoint-10")
    assert (checkpoint / FILE).exists()
    base, spec = bases("tiny-decoder", technique), plan.resolved.techniques[technique]
    tokens = base.tokenizer("sort xs", return_tensors="pt")["input_ids"].to(base.device)
    with adapted(base, spec, spec.paper, seed=1, saved=checkpoint) as model:
        ours = model.eval()(input_ids=tokens).logits[0, -1].detach()
        assert any(weight.requires_grad for weight in model.parameters())
    plain = base.model(input_ids=tokens).logits[0, -1]
    model = peft.PeftModel.from_pretrained(base.model, str(checkpoint))
    theirs = model.eval()(input_ids=tokens).logits[0, -1].detach()
    base.take_back(model.unload if technique == "adalora" else model.get_base_model)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert (ours - plain).abs().max() > 1e-2


@pytest.mark.parametrize("technique", ["lora", "prefix_tuning"])
def test_other_techniques_write_no_second_file(
    plan: Plan, bases: Bases, data: dict[str, TrialData], technique: str, tmp_path: Path
) -> None:
    run(plan, bases, data["tiny-decoder"], "tiny-decoder", technique, tmp_path, stop_at=1)
    assert list(tmp_path.rglob("adapter_model.safetensors")) and not list(tmp_path.rglob(FILE))


@pytest.mark.parametrize("model", MODELS)
def test_adalora_ends_within_its_budget(
    plan: Plan, bases: Bases, data: dict[str, TrialData], model: str, tmp_path: Path
) -> None:
    """Twelve ranks a module to begin with, eight on average in the end."""
    run(plan, bases, data[model], model, "adalora", tmp_path)
    pattern = json.loads((tmp_path / "checkpoint-10" / "adapter_config.json").read_text())["rank_pattern"]
    assert {len(ranks) for ranks in pattern.values()} == {12}
    assert sum(sum(ranks) for ranks in pattern.values()) == 8 * len(pattern)
    assert len({sum(ranks) for ranks in pattern.values()}) > 1, "modules share the budget unequally"


def test_adaloras_regularisation_is_no_part_of_the_validation_loss(
    plan: Plan, bases: Bases, data: dict[str, TrialData]
) -> None:
    base, spec, items = bases("tiny-decoder", "adalora"), plan.resolved.techniques["adalora"], data["tiny-decoder"]
    bare = validation_loss(base.model, items.collator, items.validation, bf16=False)
    with adapted(base, spec, spec.paper, seed=1, steps=10) as model:
        assert validation_loss(model, items.collator, items.validation, bf16=False) == pytest.approx(bare, abs=1e-6)
        features = items.collator.features(items.validation[0])
        batch = {name: tensor.to(base.device) for name, tensor in items.collator([features]).items()}
        with torch.no_grad():
            assert float(model(**batch).loss) > float(model.get_base_model()(**batch).loss) + 1e-3
