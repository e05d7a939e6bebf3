"""CodeGen's fused attention projection, whose rows are ordered by the cores that a model was trained on.

The rows of a checkpoint are laid out as (core, part, row), the parts being query, value and key, each with the heads of
that core. transformers' class reads four cores. CodeGen2 1B and 3.7B are laid out for eight (CTranslate2's converter).
"""

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.models.codegen.modeling_codegen import CodeGenAttention

from raypeft.errors import UserError

NATIVE_CORES = 4
PARTS = 3


def check_layout(config: PreTrainedConfig, cores: int | None, where: str) -> None:
    """Check that a checkpoint's layout is known and that transformers' class can run it.

    Args:
        config: the model's configuration.
        cores: cores of the layout as the catalogue says, none where it says nothing.
        where: key of the model, for messages.

    Raises:
        UserError: the layout is unknown, does not fit the heads, or the model is none of CodeGen's.
    """
    if config.model_type != "codegen":
        if cores is not None:
            raise UserError(f"is for CodeGen models; this one is {config.model_type}", where=f"{where}.qkv_layout")
        return
    if cores is None and getattr(config, "auto_map", None):
        raise UserError(
            "brings its own code, so the order of its attention rows is unknown",
            where=where,
            hint=f"State {where}.qkv_layout: 8 for CodeGen2 1B and 3.7B, 4 for 7B and CodeGen.",
        )
    for needed in (cores or NATIVE_CORES, NATIVE_CORES):
        if config.n_head % needed:
            raise UserError(
                f"{config.n_head} heads cannot be shared out among {needed} cores", where=f"{where}.qkv_layout"
            )


def native_rows(width: int, cores: int) -> torch.Tensor:
    """For each row of transformers' layout, the row of a checkpoint laid out for `cores`.

    Args:
        width: of the hidden states; the projection has three times as many rows.
        cores: a divisor of `width`.
    """
    rows = torch.arange(PARTS * width).view(cores, PARTS, width // cores)
    by_part = rows.transpose(0, 1).reshape(PARTS, NATIVE_CORES, width // NATIVE_CORES)
    return by_part.transpose(0, 1).flatten()


@torch.no_grad()
def to_native_layout(model: nn.Module, cores: int) -> None:
    """Reorder the rows of every fused projection from a layout for `cores` to that of transformers' class."""
    for module in model.modules():
        if isinstance(module, CodeGenAttention):
            weight = module.qkv_proj.weight
            weight.copy_(weight[native_rows(weight.shape[1], cores).to(weight.device)])
