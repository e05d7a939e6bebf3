"""Whatever adapts a base model, what runs on it next is what a fresh process would run."""

import dataclasses
import random
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from raypeft.decoding import BeamSettings, decode
from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import Base, load_base
from raypeft.spec.loading import PACKAGE
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from raypeft.spec.technique import Technique
from raypeft.training.data import TrialData, trial_data
from raypeft.training.validation import validation_loss
from tests.modeling.conftest import SHORT, TOKENIZER_FILES
from tests.modeling.test_adapters import batch, step

MODELS = ("tiny-decoder", "tiny-encoder-decoder", "untied")
DRAWS = 60
SETTINGS = BeamSettings(beams=2, candidates=2, max_new_tokens=4, stop_strings=("\n",))
ABSTRACT = {"PeftConfig", "PromptLearningConfig"}
CLASSES = sorted(
    name
    for name in dir(peft)
    if isinstance(kind := getattr(peft, name), type) and issubclass(kind, peft.PeftConfig) and name not in ABSTRACT
)
INITIAL = [True, False, "gaussian", "orthogonal", "pissa", "pissa_niter_2", "olora", "loftq", "corda", "eva", "lora_ga"]
OPTIONS: dict[str, list[Any]] = {
    "target_modules": [["q_proj", "v_proj"]],
    "bias": ["none", "all", "lora_only"],
    "modules_to_save": [None, ["lm_head"], ["embed_tokens"], ["norm"], ["o_proj"]],
    "init_weights": [None, False],  # none: what the class does by itself
    "init_ia3_weights": [True, False],
}
LORA: dict[str, list[Any]] = {
    "init_lora_weights": INITIAL,
    "layer_replication": [None, None, [[0, 2], [1, 3]], [[0, 1], [0, 1]]],
    "use_dora": [False, True],
    "use_rslora": [False, True],
    "trainable_token_indices": [None, [3, 5]],
    "ensure_weight_tying": [False, True],
    "target_modules": [*[["q_proj", "v_proj"]] * 4, "all-linear", ["embed_tokens"], ["lm_head"]],
}
NEEDED: dict[str, dict[str, Any]] = {
    "AdaLoraConfig": {"total_step": 10, "tinit": 2, "tfinal": 2},
    "AdaptionPromptConfig": {"adapter_len": 4, "adapter_layers": 2, "target_modules": "self_attn"},
    "CPTConfig": {"cpt_token_ids": [5, 6, 7], "cpt_mask": [1, 1, 1], "cpt_tokens_type_mask": [1, 2, 3]},
    "C3AConfig": {"block_size": 32},
    "FourierFTConfig": {"n_frequency": 50},
    "WaveFTConfig": {"n_frequency": 50},
    "LNTuningConfig": {"target_modules": ["input_layernorm"]},
    "OFTConfig": {"r": 4, "oft_block_size": 0},
    "VBLoRAConfig": {"num_vectors": 16, "vector_length": 32},
    "TrainableTokensConfig": {"token_indices": [3, 5], "target_modules": ["embed_tokens"]},
}
# T5's names for the modules above
NAMES = {
    "q_proj": "q",
    "v_proj": "v",
    "o_proj": "o",
    "embed_tokens": "shared",
    "norm": "layer_norm",
    "input_layernorm": "layer_norm",
}


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a plain LoRA trial reports before training, and the base model's candidates with no examples."""

    loss: str
    candidates: list[list[tuple[str, str]]]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The embedded models, and the decoder with an output layer of its own."""
    folder, source = tmp_path_factory.mktemp("untied"), PACKAGE / "embedded" / "models" / "tiny-decoder"
    model = AutoModelForCausalLM.from_pretrained(source)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        (folder / name).write_bytes((source / name).read_bytes())
    untied = f"catalogue.models.untied={{title: U, folder: {folder}, targets: {{attention: [q_proj, k_proj, v_proj]}}}}"
    return Plan(resolve("quickstart", settings=[*SHORT, f"models=[{', '.join(MODELS)}]", untied]))


@dataclasses.dataclass(frozen=True)
class Fresh:
    """A base model with what a fresh process computes on it."""

    base: Base
    data: TrialData
    lora: Technique
    answers: Answers

    def now(self) -> Answers:
        return answers(self.base, self.data, self.lora)


def answers(base: Base, data: TrialData, lora: Technique) -> Answers:
    with adapted(base, lora, lora.paper, seed=42) as model:
        loss = validation_loss(model, data.collator, data.validation[:4], bf16=False)
    found = decode(base.model, base.tokenizer, data.em_prompts[:2], SETTINGS, batch_size=2)
    return Answers(loss.hex(), [[(one.text, one.score.hex()) for one in item] for item in found])


@pytest.fixture(scope="module")
def fresh(plan: Plan) -> dict[str, Fresh]:
    found = {}
    for name in MODELS:
        base = load_base(name, plan.resolved.models[name], "fp32")
        data, lora = trial_data(plan, base, "snippets"), plan.resolved.techniques["lora"]
        found[name] = Fresh(base, data, lora, answers(base, data, lora))
    return found


def drawn() -> list[tuple[str, str, dict[str, Any]]]:
    """Model, class and arguments: every class once, and LoRA, which has most ways to touch a base, for the rest."""
    draw = random.Random(16)
    found = []
    for name in [*CLASSES, *["LoraConfig"] * (DRAWS - len(CLASSES))]:
        fields = {field.name for field in dataclasses.fields(getattr(peft, name))}
        options = OPTIONS | (LORA if name == "LoraConfig" else {})
        arguments = {key: draw.choice(values) for key, values in options.items() if key in fields}
        if arguments.get("init_lora_weights") == "loftq":
            arguments["loftq_config"] = {"loftq_bits": 4}
        arguments |= NEEDED.get(name, {})
        if "num_virtual_tokens" in fields:
            arguments["num_virtual_tokens"] = 4
        model = draw.choice(MODELS)
        if model == "tiny-encoder-decoder":
            arguments = {key: on_t5(value) for key, value in arguments.items() if key != "layer_replication"}
        found.append((model, name, arguments))
    return found


def on_t5(value: Any) -> Any:
    return [NAMES.get(str(name), name) for name in value] if isinstance(value, list) else value


DRAWN = drawn()


def technique_of(kind: str, arguments: dict[str, Any]) -> Technique:
    return Technique.model_validate(
        {
            "title": kind,
            "peft": kind,
            "arguments": {name: value for name, value in arguments.items() if value is not None},
            "paper": {"learning_rate": 1e-3},
            "search": {"learning_rate": {"uniform": [0, 1]}},
        }
    )


def trained(base: Base, technique: Technique) -> str:
    """The loss that a training begins with, after its first step; why there was none."""
    began = False
    try:
        with adapted(base, technique, technique.paper, seed=42, steps=10) as adapter:
            began = True
            return step(adapter, batch(base)).hex()
    except Exception as error:
        return f"{'failed' if began else 'refused'}: {type(error).__name__}"


def test_what_comes_next_is_as_in_a_fresh_process(fresh: dict[str, Fresh]) -> None:
    """After any configuration of peft, or it was refused before training; and so does each of them itself begin."""
    losses, spoilt = [], []
    for model, kind, arguments in DRAWN:
        of = fresh[model]
        losses.append(trained(of.base, technique_of(kind, arguments)))
        if of.now() != of.answers:
            spoilt.append((model, kind, arguments))
    assert not spoilt
    assert sum(not loss.startswith(("refused", "failed")) for loss in losses) > DRAWS // 2, "few were tried"
    again = [trained(fresh[model].base, technique_of(kind, arguments)) for model, kind, arguments in reversed(DRAWN)]
    assert again[::-1] == losses
