"""The sizes of a model's layers: what its weights and what its memory in use follow from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from raypeft.spec.loading import Strict
from raypeft.spec.values import Flag, Whole

Layers = Annotated[Whole, Field(gt=0, le=1_000)]
Size = Annotated[Whole, Field(gt=0, le=10**7)]
Block = Literal["llama", "starcoder2", "codegen", "t5"]

# Configurations whose layers are computed as Llama's are.
LIKE_LLAMA = frozenset({"llama", "qwen2", "qwen3", "mistral", "smollm3"})


@dataclass(frozen=True)
class Matrix:
    """A kind of linear layer: its name in transformers, its inputs and outputs, how many the model has of it."""

    name: str
    inputs: int
    outputs: int
    count: int

    @property
    def weights(self) -> int:
        """Weights of all of them."""
        return self.inputs * self.outputs * self.count


class Shape(Strict):
    """Sizes of a model.

    Attributes:
        block: whose layers they are computed as, by the name of the model type in transformers.
        layers: layers of the decoder.
        encoder_layers: layers of the encoder, none for a decoder alone.
        hidden: width of the hidden states.
        intermediate: width of the feed-forward layers.
        heads: attention heads.
        kv_heads: heads of keys and values, as many as `heads` if nothing is said.
        head_size: width of a head; nothing means hidden / heads.
        vocabulary: rows of the embedding.
        tied: whether the output layer has the weights of the embedding.
        gated: of T5 alone, whether its feed-forward layers have a gate.
    """

    block: Block
    layers: Layers
    encoder_layers: Annotated[Whole, Field(ge=0, le=1_000)] = 0
    hidden: Size
    intermediate: Size
    heads: Size
    kv_heads: Size | None = None
    head_size: Size | None = None
    vocabulary: Size
    tied: Flag = False
    gated: Flag = False

    @property
    def width(self) -> int:
        """Width of the queries of all heads."""
        return self.heads * (self.head_size or self.hidden // self.heads)

    @property
    def kv_width(self) -> int:
        """Width of the keys of all heads, and of the values."""
        return (self.kv_heads or self.heads) * (self.head_size or self.hidden // self.heads)

    @property
    def matrices(self) -> list[Matrix]:
        """Every linear layer but the output layer."""
        h, q, kv, i, n = self.hidden, self.width, self.kv_width, self.intermediate, self.layers
        if self.block == "codegen":
            sizes = {"qkv_proj": (h, 3 * q), "out_proj": (q, h), "fc_in": (h, i), "fc_out": (i, h)}
            return [Matrix(name, *size, n) for name, size in sizes.items()]
        if self.block == "t5":
            both, attentions = self.encoder_layers + n, self.encoder_layers + 2 * n
            first = ("wi_0", "wi_1") if self.gated else ("wi",)
            return [
                *(Matrix(name, h, q, attentions) for name in ("q", "k", "v")),
                Matrix("o", q, h, attentions),
                *(Matrix(name, h, i, both) for name in first),
                Matrix("wo", i, h, both),
            ]
        attention = {"q_proj": (h, q), "k_proj": (h, kv), "v_proj": (h, kv), "o_proj": (q, h)}
        if self.block == "starcoder2":
            sizes = attention | {"c_fc": (h, i), "c_proj": (i, h)}
        else:
            sizes = attention | {"gate_proj": (h, i), "up_proj": (h, i), "down_proj": (i, h)}
        return [Matrix(name, *size, n) for name, size in sizes.items()]

    @property
    def weights(self) -> int:
        """Weights of all layers, without biases and norms."""
        return self.linear_weights + self.vocabulary_weights

    @property
    def linear_weights(self) -> int:
        """Weights of all linear layers but the output layer, without biases."""
        return sum(matrix.weights for matrix in self.matrices)

    @property
    def vocabulary_weights(self) -> int:
        """Weights of the embedding and, where it has its own, the output layer."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)


def shape_of_folder(folder: Path) -> Shape | None:
    """The shape of a model in a folder by its `config.json`; none where it cannot be read or its layers are unknown."""
    file = folder / "config.json"
    try:
        return _shape(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _shape(config: Mapping[str, Any]) -> Shape | None:
    kind = config["model_type"]
    if kind in LIKE_LLAMA or kind == "starcoder2":
        return Shape(
            block="starcoder2" if kind == "starcoder2" else "llama",
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            heads=config["num_attention_heads"],
            kv_heads=config.get("num_key_value_heads"),
            head_size=config.get("head_dim"),
            vocabulary=config["vocab_size"],
            tied=config.get("tie_word_embeddings", kind == "starcoder2"),
        )
    if kind == "codegen":
        return Shape(
            block="codegen",
            layers=config["n_layer"],
            hidden=config["n_embd"],
            intermediate=config.get("n_inner") or 4 * config["n_embd"],
            heads=config["n_head"],
            vocabulary=config["vocab_size"],
            tied=config.get("tie_word_embeddings", False),
        )
    if kind == "t5":
        return Shape(
            block="t5",
            layers=config.get("num_decoder_layers") or config["num_layers"],
            encoder_layers=config["num_layers"],
            hidden=config["d_model"],
            intermediate=config["d_ff"],
            heads=config["num_heads"],
            head_size=config["d_kv"],
            vocabulary=config["vocab_size"],
            tied=config.get("tie_word_embeddings", True),
            gated=str(config.get("feed_forward_proj", "relu")).startswith("gated"),
        )
    return None
