"""Adapters that begin by rewriting the base: what is saved gives the trained model on the base as it was."""

import copy
import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import Base, load_base
from raypeft.runs.checkpoints import best
from raypeft.runs.records import Message
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from raypeft.spec.technique import Technique
from raypeft.training.data import trial_data
from raypeft.training.trial import train
from raypeft.training.validation import validation_loss
from tests.modeling.conftest import SHORT
from tests.training.test_trial import TIMES

UNTOUCHED = {"target_modules": ["q_proj", "v_proj"], "r": 8, "lora_alpha": 24}
STARTS: dict[str, dict[str, Any]] = {
    "pissa": {"init_lora_weights": "pissa"},
    "olora with biases": {"init_lora_weights": "olora", "bias": "all"},
    "random at each load, dora, whole modules": {
        "init_lora_weights": "pissa_niter_4",
        "use_dora": True,
        "modules_to_save": ["norm"],
    },
    "random at each load, rank-stabilised, patterns": {
        "init_lora_weights": "pissa_niter_4",
        "rank_pattern": {"q_proj": 4},
        "alpha_pattern": {"q_proj": 2},
        "use_rslora": True,
    },
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(resolve("quickstart", settings=[*SHORT, "early_stopping=null", "training.evaluate_every=1"]))


def fresh(plan: Plan) -> Base:
    return load_base("tiny-decoder", plan.resolved.models["tiny-decoder"], "fp32")


def run(plan: Plan, spec: Technique, folder: Path, stop_at: int = -1) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = []

    def emit(said: Message) -> None:
        report = said.content()
        reports.append({key: value for key, value in report.items() if key not in TIMES})
        if report["report"] == stop_at:
            raise SystemExit

    base = fresh(plan)
    try:
        train(plan, base, trial_data(plan, base, "snippets"), spec, spec.paper, folder, emit)
    except SystemExit:
        assert stop_at >= 0
    return reports


def loss(plan: Plan, base: Base, model: Any) -> float:
    data = trial_data(plan, base, "snippets")
    return validation_loss(model, data.collator, data.validation, bf16=False)


@pytest.mark.parametrize("start", STARTS)
def test_a_saved_adapter_gives_what_was_trained_on_the_base_as_it_was(start: str, plan: Plan, tmp_path: Path) -> None:
    spec = Technique(
        title=start,
        peft="LoraConfig",
        arguments={**UNTOUCHED, **STARTS[start]},
        paper={"learning_rate": 5e-3},
        search={"learning_rate": {"log_uniform": [1e-5, 1e-2]}},  # type: ignore[dict-item]
    )
    reports = run(plan, spec, tmp_path / "whole")
    run(plan, spec, tmp_path / "parts", stop_at=1)
    assert run(plan, spec, tmp_path / "parts") == reports[1:]
    found = best(tmp_path / "whole", "loss")
    assert found is not None and found.order[0] > 0
    base = fresh(plan)
    before = {name: weight.clone() for name, weight in base.model.named_parameters()}
    plain = loss(plan, base, base.model)
    assert abs(plain - found.report.validation_loss) > 0.02, "the training must change the model"
    torch.manual_seed(99)
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(base.model), str(found.path))
    assert loss(plan, base, theirs) == pytest.approx(found.report.validation_loss, abs=2e-5)
    with adapted(base, spec, spec.paper, seed=99, saved=found.path) as ours:
        assert loss(plan, base, ours) == pytest.approx(found.report.validation_loss, abs=2e-5)
    if "bias" not in STARTS[start] and "modules_to_save" not in STARTS[start]:
        assert all(torch.equal(weight, before[name]) for name, weight in base.model.named_parameters())
    config = json.loads((found.path / "adapter_config.json").read_text())
    assert (config["init_lora_weights"], config["r"]) == (True, 16)
