"""EM@10 in training is what the test would find."""

from pathlib import Path
from typing import Any

import pytest
import torch

from raypeft.decoding.fitting import decode_fitting
from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import load_base
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from raypeft.training import validation
from raypeft.training.data import trial_data
from raypeft.training.trial import train
from tests.conftest import SMALL
from tests.training.conftest import SHORT_CODE


@pytest.mark.parametrize(
    ("model", "technique"),
    [
        ("tiny-decoder", "full"),
        ("tiny-encoder-decoder", "full"),
        ("tiny-decoder", "lora"),
        ("tiny-encoder-decoder", "prompt_tuning"),
    ],
)
def test_candidates_in_training_are_those_of_the_checkpoint(
    model: str, technique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In half precision accelerate puts autocast around what it trains, and the test does not."""
    settings = [*SMALL, f"catalogue.datasets.snippets={SHORT_CODE}", "training.precision=bf16", "training.epochs=1"]
    plan = Plan(resolve("quickstart", settings=settings))
    base = load_base(model, plan.resolved.models[model], "bf16")
    assert base.dtype == torch.bfloat16
    data, spec = trial_data(plan, base, "snippets"), plan.resolved.techniques[technique]
    found: list[Any] = []

    def kept(*arguments: Any, **more: Any) -> Any:
        found.append(decode_fitting(*arguments, **more))
        return found[-1]

    monkeypatch.setattr(validation, "decode_fitting", kept)
    train(plan, base, data, spec, {**spec.paper, "learning_rate": 1e-3}, tmp_path, lambda report: None)
    last = max(tmp_path.glob("checkpoint-*"), key=lambda folder: int(folder.name.partition("-")[2]))
    with adapted(base, spec, spec.paper, seed=0, saved=last) as again:
        tested = decode_fitting(again, base.tokenizer, data.em_prompts, data.beams, batch_size=found[-1][1])
    assert tested == found[-1]
