"""Texts that a model has no embedding or no positions for are told before they are read, with the model's name."""

import json
from pathlib import Path

import pytest
import transformers

from raypeft.data.sources import Item
from raypeft.errors import UserError
from raypeft.evaluation.decoding_job import decode_items
from raypeft.modeling.fitting import check_prompts
from raypeft.modeling.loading import Base, load_base
from raypeft.spec.catalogue import ModelEntry
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from raypeft.training.data import trial_data
from tests.conftest import SMALL


@pytest.fixture()
def short(tiny: Path) -> Base:
    """A model of 60 positions, and a tokenizer whose special token `<PRE>` it has no embedding for."""
    config = json.loads((tiny / "config.json").read_text()) | {"max_position_embeddings": 60}
    (tiny / "config.json").write_text(json.dumps(config))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<PRE>"]})
    tokenizer.save_pretrained(tiny)
    return load_base("short", ModelEntry(title="S", folder=str(tiny)), "fp32")


def plan_of(short: Base) -> Plan:
    own = f"catalogue.models.short={{title: S, folder: '{short.source}'}}"
    return Plan(resolve("quickstart", settings=[*SMALL, own, "models=[short]", "techniques=[lora]"]))


def test_prompts_longer_than_the_positions(short: Base) -> None:
    plan, item = plan_of(short), Item("1", "i", "c")
    with pytest.raises(UserError) as refused:
        decode_items(plan, short, short.model, "snippets", [item, item], [[5] * 20, [5] * 29])
    assert str(refused.value).startswith(
        "models.short: a prompt of 29 tokens and code of up to 32 need 61 positions, but the model has 60 "
    )
    decode_items(plan, short, short.model, "snippets", [item], [[5] * 28])


def test_tokens_without_an_embedding(short: Base, tmp_path: Path) -> None:
    rows = "".join(json.dumps({"id": index, "nl": f"a list {index}", "cmd": "x"}) + "\n" for index in range(3))
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.jsonl").write_text(rows if split != "train" else rows.replace("list 1", "<PRE> 1"))
    own = f"catalogue.datasets.snippets={{title: S, folder: '{tmp_path}', max_prompt_tokens: 50, max_code_tokens: 8}}"
    entry = f"catalogue.models.short={{title: S, folder: '{short.source}'}}"
    settings = [own, entry, "models=[short]", "techniques=[lora]", "data={}"]
    with pytest.raises(UserError, match=r"models\.short: a text has the token 1536, but the model has 1536 embeddings"):
        trial_data(Plan(resolve("quickstart", settings=settings)), short, "snippets")


def test_encoder_decoders_without_a_limit_take_any_length() -> None:
    check_prompts(transformers.T5ForConditionalGeneration(transformers.T5Config(vocab_size=9, num_layers=1, d_model=8,
        d_kv=4, num_heads=2, d_ff=8)), [[5] * 5000], 5000, "models.t5")  # fmt: skip
