"""Adapters of a reordered attention projection, put back into the order of the checkpoint they were trained on."""

from collections.abc import Mapping

import torch

from raypeft.errors import UserError
from raypeft.modeling.layout import PARTS, native_rows

PROJECTION = "qkv_proj"
# Shared among layers of different widths, so that the rows of one layer cannot be moved.
SHARED = "vera_B"


def to_checkpoint_rows(weights: Mapping[str, torch.Tensor], width: int, cores: int) -> dict[str, torch.Tensor]:
    """Reverse `to_native_layout` in an adapter: whatever has a row for each output of the projection is moved back.

    Args:
        weights: tensors of the adapter file.
        width: of the model's hidden states.
        cores: of the checkpoint's layout.

    Raises:
        UserError: the adapter shares its output rows among layers (VeRA).
    """
    if any(SHARED in name for name in weights) and any(PROJECTION in name for name in weights):
        raise UserError(
            "VeRA shares its output rows among layers, so they cannot be put into the order of this model's checkpoint",
            hint="Export it with --merge.",
        )
    rows = native_rows(width, cores)
    moved = dict(weights)
    for name, tensor in weights.items():
        if PROJECTION in name and tensor.shape[0] == PARTS * width:
            moved[name] = torch.empty_like(tensor)
            moved[name][rows] = tensor
    return moved
