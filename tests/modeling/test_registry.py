"""Every method that peft has is refused by name, or trains and decodes."""

import dataclasses

import peft
import pytest
import torch

from raypeft.decoding.reading import virtual_kind
from raypeft.modeling.adapter_files import UNUSABLE
from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import Base, load_base
from raypeft.modeling.preflight import study_problems
from raypeft.spec.resolve import ResolvedStudy, resolve
from raypeft.spec.technique import Technique

CLASSES = sorted(kind.__name__ for kind in peft.PEFT_TYPE_TO_CONFIG_MAPPING.values())
NEEDED: dict[str, dict[str, object]] = {
    "AdaLoraConfig": {"total_step": 4, "tinit": 1, "tfinal": 1},
    "C3AConfig": {"block_size": 32},
    "IA3Config": {"target_modules": ["attention", "feedforward"], "feedforward_modules": ["feedforward"]},
    "PrefixTuningConfig": {"num_virtual_tokens": 4},
    "PromptEncoderConfig": {"num_virtual_tokens": 4},
    "PromptTuningConfig": {"num_virtual_tokens": 4},
    "TrainableTokensConfig": {"target_modules": ["embed_tokens"], "token_indices": [5, 6]},
    "VBLoRAConfig": {"vector_length": 32, "num_vectors": 16},
}
ELSEWHERE = {"AdamssConfig": "scikit-learn"}  # needs a package that raypeft does not


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base("tiny-decoder", resolve("quickstart").models["tiny-decoder"], "fp32")


def study_of(kind: str) -> ResolvedStudy:
    """A study of one technique, which is the class with its defaults."""
    fields = {field.name for field in dataclasses.fields(getattr(peft, kind))}
    attention = {"target_modules": ["attention"]} if "target_modules" in fields else {}
    technique = Technique.model_validate(
        {
            "title": kind,
            "peft": kind,
            "arguments": {**attention, **NEEDED.get(kind, {})},
            "paper": {"learning_rate": 1e-2},
            "search": {"learning_rate": {"choice": [1e-2]}},
        }
    )
    resolved = resolve("quickstart", settings=["models=[tiny-decoder]", "techniques=[lora]"])
    return resolved.model_copy(update={"techniques": {"lora": technique}})


def test_what_is_refused_is_in_the_registry() -> None:
    assert set(CLASSES) > UNUSABLE.keys() | NEEDED.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind not in UNUSABLE])
def test_every_other_method_is_let_through_and_trains(base: Base, kind: str) -> None:
    resolved = study_of(kind)
    if kind in ELSEWHERE:
        (problem,) = study_problems(resolved)
        assert ELSEWHERE[kind] in problem
        return
    assert study_problems(resolved) == []
    ids = torch.arange(10, 26).view(1, -1)
    with adapted(base, resolved.techniques["lora"], {"learning_rate": 1e-2}, seed=1, steps=4) as model:
        virtual_kind(model)  # what the beam search knows of virtual tokens
        model(input_ids=ids, labels=ids).loss.backward()
        gradients = [weight.grad for weight in model.parameters() if weight.requires_grad and weight.grad is not None]
        assert gradients and all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.abs().sum() > 0 for gradient in gradients)
