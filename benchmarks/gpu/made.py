"""Models of random weights at their real size, made on the device: they need no hub, no disk and no host memory."""

import functools
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from raypeft.estimate.footprint import shape_of
from raypeft.modeling.layout import target_lists
from raypeft.modeling.loading import Base
from raypeft.modeling.precision import Hardware, compute_dtype, keep_unpacked
from raypeft.spec.loading import PACKAGE
from raypeft.spec.plan import Cell, Plan
from raypeft.spec.shape import Shape
from raypeft.spec.technique import Quantization


def base_of_cell(plan: Plan, cell: Cell) -> Base:
    """The base model of a cell as `study_base` gives it, with random weights of the catalogue's shape."""
    entry, training = plan.resolved.models[cell.model], plan.resolved.study.training
    shape = shape_of(entry)
    assert shape is not None and shape.block == "llama"
    hardware = Hardware.here()
    dtype = compute_dtype(training.precision, "llama", hardware)
    quantization = plan.resolved.techniques[cell.technique].quantization
    model = random_llama(shape, quantization, dtype, hardware.device)
    tokenizer = AutoTokenizer.from_pretrained(PACKAGE / "embedded" / "models" / "tiny-decoder")
    targets, again = target_lists(entry, "llama"), functools.partial(base_of_cell, plan, cell)
    return Base(cell.model, entry, "made", model, tokenizer, "decoder", targets, dtype, again)


def random_llama(shape: Shape, quantization: Quantization | None, dtype: torch.dtype, device: str) -> LlamaForCausalLM:
    """A Llama of a shape, its linear layers made and quantised one after the other (nf4 twice quantised, or int8).

    What is not quantised is in `dtype`, as transformers loads it.
    """
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads or shape.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=shape.tied,
    )
    with torch.device("meta"):
        model: Any = LlamaForCausalLM._from_config(config, dtype=dtype)
    torch.manual_seed(0)
    make = _LAYERS[quantization] if quantization is not None else None
    for name, module in list(model.named_modules()):
        if make is not None and isinstance(module, torch.nn.Linear) and name != "lm_head":
            parent, _, last = name.rpartition(".")
            made = make(module, dtype, device)
            setattr(model.get_submodule(parent), last, made)
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight.is_meta:
                setattr(module, name, torch.nn.Parameter(_random(weight.shape, dtype, device), requires_grad=False))
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(device)
    if quantization is not None:
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)  # as quantization_config does
        model.is_loaded_in_4bit, model.is_loaded_in_8bit = quantization == "4bit", quantization == "8bit"
        keep_unpacked(model)
        token = torch.zeros((1, 1), dtype=torch.long, device=device)
        with torch.no_grad():  # layers of bitsandbytes arrange their weights when they first compute
            model.eval()(input_ids=token, labels=token)
    return model.eval().requires_grad_(False)


def _random(size: torch.Size, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Weights that keep the size of what passes through them: a norm's are one."""
    if len(size) == 1:
        return torch.ones(size, dtype=dtype, device=device)
    return torch.randn(size, dtype=dtype, device=device) / math.sqrt(size[-1])


def _nf4(linear: torch.nn.Linear, dtype: torch.dtype, device: str) -> torch.nn.Module:
    layer = bnb.nn.Linear4bit(
        linear.in_features, linear.out_features, bias=False, compute_dtype=dtype, quant_type="nf4", device="meta"
    )
    weight = _random(linear.weight.shape, dtype, device)
    layer.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4", module=layer).to(device)
    return layer


def _int8(linear: torch.nn.Linear, dtype: torch.dtype, device: str) -> torch.nn.Module:
    layer = bnb.nn.Linear8bitLt(
        linear.in_features, linear.out_features, bias=False, has_fp16_weights=False, threshold=6.0, device="meta"
    )
    weight = _random(linear.weight.shape, torch.float16, device)
    layer.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False).to(device)
    return layer


_LAYERS: dict[Quantization, Callable[[torch.nn.Linear, torch.dtype, str], torch.nn.Module]] = {
    "4bit": _nf4,
    "8bit": _int8,
}


def write_items(folder: Path, train: int) -> None:
    """A data set whose items all reach the token limits."""
    prompt = "sort the list of names by their last letter and then reverse it " * 12
    code = "result = sorted(names, key=lambda name: name[-1], reverse=True) if names else [] " * 12
    folder.mkdir(parents=True, exist_ok=True)
    for split, items in (("train", train), ("validation", 16), ("test", 16)):
        rows = [json.dumps({"nl": f"prompt {index} {prompt}", "cmd": code}) + "\n" for index in range(items)]
        (folder / f"{split}.jsonl").write_text("".join(rows))
