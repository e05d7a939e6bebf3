"""Models that see later tokens are refused as decoders: their losses would be those of copying the answer."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from raypeft.errors import UserError
from raypeft.modeling.fitting import check_causal, check_class
from raypeft.modeling.loading import load_base
from raypeft.spec.catalogue import ModelEntry

SHAPE = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
ENCODER = {**SHAPE, "intermediate_size": 32}


@pytest.mark.parametrize("kind", [transformers.RobertaConfig, transformers.BertConfig, transformers.ElectraConfig])
def test_encoders_are_refused_by_their_configuration(kind: type) -> None:
    with pytest.raises(UserError, match=r"models\.m: here is an encoder \(\w+\): its attention is bidirectional"):
        check_class(kind(**ENCODER), "here", "models.m")
    check_class(kind(**ENCODER, is_decoder=True), "here", "models.m")


def test_encoders_without_an_output_layer_are_refused() -> None:
    with pytest.raises(UserError, match="here is a distilbert model, which does not write text"):
        check_class(transformers.DistilBertConfig(), "here", "models.m")


@pytest.mark.parametrize("key", [{"is_causal": False}, {"use_bidirectional_attention": True}])
def test_configurations_that_ask_for_later_tokens_are_refused(tiny: Path, key: dict[str, bool]) -> None:
    config = tiny / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | key))
    ((name, value),) = key.items()
    with pytest.raises(UserError, match=f"config.json of .* says {name}: {str(value).lower()}: its attention"):
        load_base("tiny", ModelEntry(title="T", folder=str(tiny)), "fp32")


def test_attention_is_tried_on_the_model_itself() -> None:
    torch.manual_seed(0)
    for is_decoder in (True, False):
        model = transformers.RobertaForCausalLM(transformers.RobertaConfig(**ENCODER, is_decoder=is_decoder)).eval()
        if is_decoder:
            check_causal(model, "here", "models.m")
        else:
            with pytest.raises(UserError, match=r"models\.m: the logits of here change with later tokens"):
                check_causal(model, "here", "models.m")


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_decoders_pass_however_they_are_rounded(quantization: str, precision: str) -> None:
    entry = ModelEntry(title="T", folder="embedded:models/tiny-decoder")
    load_base("tiny", entry, precision, quantization=quantization)  # type: ignore[arg-type]
