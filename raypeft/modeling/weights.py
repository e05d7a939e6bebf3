"""Files and tensors of a checkpoint: whether the files are whole, and the tensors just those of the model."""

import filecmp
import json
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from raypeft.errors import UserError
from raypeft.hub.repository import WEIGHTS

POINTER = b"version https://git-lfs.github.com/spec/"
POINTER_BYTES = 1024  # a pointer is a few lines
PICKLE = b"\x80"  # how weights of old PyTorch versions begin
SHOWN = 3
FETCH = "Fetch the file itself: git lfs pull, or raypeft fetch for a model of the hub."
AGAIN = "Copy or download the file again."

# Attention masks and positions that old checkpoints keep as tensors, and today's classes compute.
COMPUTED = re.compile(
    r"(^|\.)(masked_bias|causal_mask|inv_freq|position_ids|embed_positions)$|\.(attn|attention)\.bias$"
)


def check_files(folder: Path, where: str) -> None:
    """Check that no file of a model or adapter is a git-lfs pointer, and each file of weights can be opened.

    Args:
        folder: of the model or adapter.
        where: its key or option, for messages.

    Raises:
        UserError: with every file that is not whole, and why.
    """
    pointers = [file.name for file in sorted(folder.iterdir()) if file.is_file() and _is_pointer(file)]
    wrong = [f"{folder / name} is a git-lfs pointer in place of the file" for name in pointers]
    damaged = [f"{folder / name} {fault}" for name, fault in _damaged(folder) if name not in pointers]
    if wrong or damaged:
        raise UserError(_listed([*wrong, *damaged]), where=where, hint=FETCH if wrong else AGAIN)


def check_complete(info: Mapping[str, Collection[Any]], model: Any, source: str, where: str) -> None:
    """Check what transformers says of the tensors it has loaded (`output_loading_info`).

    Tied tensors are in the checkpoint under one of their names; masks and positions that are computed need not be.

    Args:
        info: of a model that was loaded with `ignore_mismatched_sizes`.
        model: the model.
        source: hub id or folder it comes from.
        where: its key, for messages.

    Raises:
        UserError: some would be left at random values, fit nowhere, or have another shape.
    """
    computed = {name for name, _ in model.named_buffers()} - model.state_dict().keys()
    missing = sorted(key for key in info["missing_keys"] if not COMPUTED.search(key))
    unexpected = sorted(key for key in info["unexpected_keys"] if key not in computed and not COMPUTED.search(key))
    mismatched = sorted(
        f"{name} ({_shape(theirs)} in place of {_shape(ours)})" for name, theirs, ours in info["mismatched_keys"]
    )
    kind = type(model).__name__
    wrong = [
        f"{source} {what}: {listed_first(names)}"
        for names, what in (
            (missing, f"lacks {_tensors(missing)} of {kind}, which would start at random values"),
            (unexpected, f"holds {_tensors(unexpected)} that {kind} does not know"),
            (mismatched, f"holds {_tensors(mismatched)} of another shape than its config.json says"),
        )
        if names
    ]
    wrong += [f"{source}: {text}" for text in info.get("error_msgs") or ()]
    if wrong:
        hint = "Weights and config.json are of different models, or the weights were saved incompletely."
        raise UserError(_listed(wrong), where=where, hint=hint)


def check_numbers(tensors: Iterable[tuple[str, torch.Tensor]], source: str, where: str) -> None:
    """Check that weights are finite numbers.

    Raises:
        UserError: how many tensors have others, and the first few.
    """
    wrong = [name for name, tensor in tensors if tensor.is_floating_point() and not tensor.isfinite().all()]
    if wrong:
        raise UserError(
            f"{source} holds {_tensors(wrong)} with values that are not finite numbers: {listed_first(wrong)}",
            where=where,
        )


def same_weights(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files of weights, byte by byte."""
    names = _weight_files(one)
    return names == _weight_files(other) and all(
        (one / name).is_file() and (other / name).is_file() and filecmp.cmp(one / name, other / name, shallow=False)
        for name in names
    )


def _damaged(folder: Path) -> Iterator[tuple[str, str]]:
    """Weight files that cannot be opened, and why."""
    adapters = [name for name in ("adapter_model.safetensors", "adapter_model.bin") if (folder / name).is_file()]
    for name in [*_weight_files(folder), *adapters[:1]]:
        file = folder / name
        if not file.is_file():
            yield name, "is missing: the index of the weights names it"
        elif name.endswith(".index.json"):
            yield name, "is no index of weights"
        elif fault := _fault(file):
            yield name, f"is damaged or incomplete ({fault})"


def _weight_files(folder: Path) -> list[str]:
    """The files that transformers reads: one, or the shards of an index; the index where it cannot be read."""
    name = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    if name is None or not name.endswith(".index.json"):
        return [name] if name else []
    try:
        shards = json.loads((folder / name).read_text(encoding="utf-8"))["weight_map"].values()
        return sorted({str(shard) for shard in shards})
    except (ValueError, KeyError, TypeError, AttributeError):
        return [name]


def _fault(file: Path) -> str | None:
    """Why a file of weights cannot be opened; its tensors are not read."""
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, framework="pt") as opened:
                opened.keys()
        except (SafetensorError, OSError) as error:
            return str(error)
        return None
    with file.open("rb") as stream:
        begins = stream.read(1)
    if begins == PICKLE or zipfile.is_zipfile(file):
        return None
    return "no archive of PyTorch's"


def _is_pointer(file: Path) -> bool:
    if file.stat().st_size > POINTER_BYTES:
        return False
    with file.open("rb") as stream:
        return stream.read(len(POINTER)) == POINTER


def _tensors(names: Collection[str]) -> str:
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''}"


def listed_first(names: Collection[str]) -> str:
    """The first few names."""
    return ", ".join(list(names)[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _shape(sizes: Iterable[int]) -> str:
    return "×".join(str(size) for size in sizes) or "a number"


def _listed(lines: list[str]) -> str:
    return lines[0] if len(lines) == 1 else "\n" + "\n".join(f"  {line}" for line in lines)
