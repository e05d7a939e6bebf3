"""A checkpoint that is not whole, or not all of the model, is refused before anything is computed with it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from raypeft.errors import UserError
from raypeft.modeling.loading import load_base
from raypeft.modeling.source import skeleton
from raypeft.modeling.weights import check_files, same_weights
from raypeft.spec.catalogue import ModelEntry

Tensors = dict[str, torch.Tensor]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 4404312\n"


def entry(folder: Path) -> ModelEntry:
    return ModelEntry(title="T", folder=str(folder))


def refusals(folder: Path) -> list[str]:
    """What is said with the weights in memory, and without them."""
    said = []
    for load in (lambda: load_base("tiny", entry(folder), "fp32"), lambda: skeleton("tiny", entry(folder))):
        with pytest.raises(UserError) as refused:
            load()
        said.append(str(refused.value))
    return said


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def edit(file: Path, **keys: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (
            lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
            (
                "lacks 39 tensors of LlamaForCausalLM",
                "holds 38 tensors that LlamaForCausalLM does not know: module.model",
            ),
        ),
        (
            lambda tensors: {name: tensor for name, tensor in tensors.items() if "layers.2." not in name},
            ("lacks 9 tensors of LlamaForCausalLM, which would start at random values: model.layers.2.",),
        ),
        (
            lambda tensors: tensors | {"v_head.summary.weight": torch.zeros(1, 128)},
            ("holds 1 tensor that LlamaForCausalLM does not know: v_head.summary.weight",),
        ),
        (
            lambda tensors: tensors | {"model.norm.weight": torch.ones(64)},
            ("holds 1 tensor of another shape than its config.json says: model.norm.weight (64 in place of 128)",),
        ),
    ],
)
def test_tensors_that_are_not_those_of_the_model(
    tiny: Path, change: Callable[[Tensors], Tensors], parts: tuple[str, ...]
) -> None:
    rewrite(tiny, change)
    for said in refusals(tiny):
        assert said.startswith("models.tiny: ") and all(part in said for part in parts), said


def test_an_output_layer_that_is_neither_tied_nor_there(tiny: Path) -> None:
    edit(tiny / "config.json", tie_word_embeddings=False)
    for said in refusals(tiny):
        assert "lacks 1 tensor of LlamaForCausalLM, which would start at random values: lm_head.weight" in said


def test_masks_and_positions_of_old_checkpoints_do_no_harm(tiny: Path, codegen_folder: Path, tmp_path: Path) -> None:
    rewrite(tiny, lambda tensors: tensors | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(16)})
    load_base("tiny", entry(tiny), "fp32")
    old = transformers.CodeGenForCausalLM.from_pretrained(codegen_folder)
    more = {
        f"transformer.h.{layer}.attn.{name}": torch.ones(1)
        for layer in (0, 1)
        for name in ("causal_mask", "masked_bias")
    }
    old.save_pretrained(tmp_path / "old", state_dict=old.state_dict() | more)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "old" / name).write_bytes((codegen_folder / name).read_bytes())
    load_base("old", entry(tmp_path / "old"), "fp32")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            POINTER.encode(),
            "model.safetensors is a git-lfs pointer in place of the file\nFetch the file itself: git lfs pull",
        ),
        (None, "model.safetensors is damaged or incomplete (Error while deserializing header: incomplete metadata"),
        (b"", "model.safetensors is damaged or incomplete ("),
    ],
)
def test_weight_files_that_are_not_whole(tiny: Path, content: bytes | None, said: str) -> None:
    file = tiny / "model.safetensors"
    file.write_bytes(file.read_bytes()[:200000] if content is None else content)
    for refusal in refusals(tiny):
        assert refusal.startswith(f"models.tiny: {tiny}/") and said in refusal


def test_every_file_that_is_not_whole_is_named(tiny: Path) -> None:
    (tiny / "tokenizer.json").write_text(POINTER)
    (tiny / "model.safetensors").unlink()
    shards = {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-3.safetensors"}
    (tiny / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (tiny / "model-1.safetensors").write_text(POINTER)
    (tiny / "model-2.safetensors").write_bytes(b"x" * 2000)
    with pytest.raises(UserError) as refused:
        check_files(tiny, "models.tiny")
    lines = str(refused.value).splitlines()
    assert lines[:4] == [
        "models.tiny: ",
        f"  {tiny}/model-1.safetensors is a git-lfs pointer in place of the file",
        f"  {tiny}/tokenizer.json is a git-lfs pointer in place of the file",
        f"  {tiny}/model-2.safetensors is damaged or incomplete (Error while deserializing header: header too large)",
    ]
    assert lines[4] == f"  {tiny}/model-3.safetensors is missing: the index of the weights names it"


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "pytorch_model.bin"])
def test_weights_of_other_kinds_that_are_not_whole(tiny: Path, name: str) -> None:
    (tiny / "model.safetensors").unlink()
    (tiny / name).write_text("{" * 2000)
    with pytest.raises(UserError, match=rf"{name} is "):
        check_files(tiny, "models.tiny")


def test_weights_that_are_no_numbers(tiny: Path) -> None:
    rewrite(tiny, lambda tensors: tensors | {"model.norm.weight": torch.full((128,), float("nan"))})
    with pytest.raises(UserError, match=r"models\.tiny: .* gives values that are not finite numbers in float32"):
        load_base("tiny", entry(tiny), "fp32")


def test_weights_are_compared_byte_by_byte(tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes())
    assert same_weights(tiny, other)
    rewrite(other, lambda tensors: tensors | {"model.norm.weight": tensors["model.norm.weight"] * 2})
    assert not same_weights(tiny, other)


def test_a_model_that_is_stored_quantised(tiny: Path) -> None:
    stored = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    edit(tiny / "config.json", quantization_config=stored)
    for said in refusals(tiny):
        assert f"models.tiny: {tiny} is stored quantised (bitsandbytes, 8 bits)" in said
