"""The "# Params" column of the paper's table 3, from the project's own targets and technique files.

Models of the real sizes are built on torch's meta device, where weights have shapes and no memory.
"""

import json
from pathlib import Path

import peft
import pytest
import torch
import transformers
from transformers import CodeGenConfig, LlamaConfig, PretrainedConfig, PreTrainedModel, T5Config

from raypeft.modeling.adapters import adapter_config
from raypeft.modeling.layout import target_lists
from raypeft.modeling.loading import Base
from raypeft.spec.catalogue import shipped_catalogue
from raypeft.spec.technique import load_technique

# Trainable weights in millions as the paper prints them: LoRA, IA3, prompt tuning, prefix tuning.
TECHNIQUES = ("lora", "ia3", "prompt_tuning", "prefix_tuning")
TABLE = {
    "codet5p-220m": ("2.7", "0.17", "0.03", "0.18"),
    "codet5p-770m": ("7", "0.4", "0.04", "0.5"),
    "codegen-350m-mono": ("1.3", "0.16", "0.02", "0.4"),
    "codegen2-1b": ("2", "0.2", "0.04", "0.6"),
    "codegen2-3.7b": ("4", "0.5", "0.08", "1.3"),
    "codegen2-7b": ("8.3", "1", "0.08", "2.6"),
    "codellama-7b": ("12.5", "1", "0.08", "2.6"),
    "codellama-7b-instruct": ("12.5", "1", "0.08", "2.6"),
    "codellama-7b-python": ("12.5", "1", "0.08", "2.6"),
}
# The paper's text has 20 prefix tokens; its numbers were made with 10.
POINT = {"prefix_tuning": {"num_virtual_tokens": 10}}
PAPER_NAMES = {"LoRA": "lora", "IA3": "ia3", "Prompt tuning": "prompt_tuning", "Prefix tuning": "prefix_tuning"}


def t5(d_model: int, layers: int, d_ff: int, heads: int) -> T5Config:
    return T5Config(
        vocab_size=32100, d_model=d_model, num_layers=layers, num_decoder_layers=layers, d_ff=d_ff, num_heads=heads
    )


def codegen(layers: int, hidden: int) -> CodeGenConfig:
    return CodeGenConfig(
        vocab_size=51200,
        n_layer=layers,
        n_embd=hidden,
        n_head=16,
        rotary_dim=32,
        n_positions=2048,
        n_ctx=2048,
        tie_word_embeddings=False,
    )


def llama(vocabulary: int, layers: int, hidden: int, intermediate: int, heads: int, kv_heads: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
    )


CONFIGS: dict[str, PretrainedConfig] = {
    "codet5p-220m": t5(768, 12, 3072, 12),
    "codet5p-770m": t5(1024, 24, 4096, 16),
    "codegen-350m-mono": codegen(20, 1024),
    "codegen2-1b": codegen(16, 2048),
    "codegen2-3.7b": codegen(16, 4096),
    "codegen2-7b": codegen(32, 4096),
    "codellama-7b": llama(32016, 32, 4096, 11008, 32, 32),
    "codellama-7b-instruct": llama(32016, 32, 4096, 11008, 32, 32),
    "codellama-7b-python": llama(32000, 32, 4096, 11008, 32, 32),
    "codellama-13b-python": llama(32000, 40, 5120, 13824, 40, 40),
    "codellama-34b-python": llama(32000, 48, 8192, 22016, 64, 8),
}


class AnyTokenizer:
    """Tokens for the text that prompt tuning starts from; how many weights there are does not depend on it."""

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": list(range(len(text.split())))}


def on_meta(name: str) -> PreTrainedModel:
    config = CONFIGS[name]
    kind = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        return kind.from_config(config)


def trainable(name: str, technique_name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *args, **kwargs: AnyTokenizer())
    entry, technique = shipped_catalogue().models[name], load_technique(technique_name)
    assert entry.architecture is not None
    model = on_meta(name)
    targets = target_lists(entry, model.config.model_type)
    base = Base(name, entry, str(entry.hub), model, None, entry.architecture, targets, torch.float16)
    config = adapter_config(base, technique, {**technique.paper, **POINT.get(technique_name, {})})
    with torch.device("meta"):
        adapted = peft.get_peft_model(model, config)
    return sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("model", list(TABLE))
def test_trainable_weights_are_the_papers(model: str, technique: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The column mixes rounding with truncation: within one unit of the last printed digit."""
    printed = TABLE[model][TECHNIQUES.index(technique)]
    unit = 10 ** -len(printed.partition(".")[2])
    counted = trainable(model, technique, monkeypatch) / 1e6
    assert abs(counted - float(printed)) < unit, f"{counted} million"


def test_counts_worked_out_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trainable("codellama-7b", "lora", monkeypatch) == 32 * 3 * 16 * (4096 + 4096)
    assert trainable("codellama-7b", "ia3", monkeypatch) == 32 * (3 * 4096 + 2 * 4096 + 11008)
    assert trainable("codet5p-220m", "prompt_tuning", monkeypatch) == 20 * 768 * 2
    assert trainable("codellama-7b", "prefix_tuning", monkeypatch) == 2 * 32 * 4096 * 10


@pytest.mark.parametrize("model", list(CONFIGS))
def test_sizes_in_the_catalogue_are_the_models(model: str) -> None:
    assert shipped_catalogue().models[model].parameters == on_meta(model).num_parameters()


def test_the_table_of_this_test_is_the_papers() -> None:
    file = Path(__file__).resolve().parents[3] / "shared" / "paper" / "results.json"
    if not file.is_file():
        pytest.skip(f"the paper's tables are not at {file}")
    rows = json.loads(file.read_text(encoding="utf-8"))["table3"]
    printed = {
        (row["model"].lower().replace("codet5+", "codet5p"), PAPER_NAMES[row["technique"]]): row["params"]
        for row in rows
        if row["technique"] in PAPER_NAMES
    }
    ours = {(m, t): f"{value}M" for m, values in TABLE.items() for t, value in zip(TECHNIQUES, values, strict=True)}
    assert len(printed) == 36
    assert printed == ours
