"""Whether saved weights give back the model that was trained."""

import math
from typing import Any

import torch

from raypeft.errors import UserError
from raypeft.modeling.loading import Base
from raypeft.spec.plan import Cell, Plan
from raypeft.training.data import validation_items
from raypeft.training.validation import validation_loss

EXACT, ROUGH = 1e-3, 0.05  # nats a token, in fp32 and in less


def check_restored(plan: Plan, base: Base, model: Any, cell: Cell, before: float) -> None:
    """Compare the validation loss of a cell's loaded weights with that of the trial when they were saved.

    Raises:
        UserError: they differ by more than rounding.
    """
    items, collator = validation_items(plan, base, cell.dataset)
    # One at a time, since as many as in training may not fit here.
    loss = validation_loss(model, collator, items, bf16=base.dtype == torch.bfloat16, batch_size=1)
    exact = base.dtype == torch.float32 and plan.resolved.techniques[cell.technique].quantization is None
    if not math.isclose(loss, before, rel_tol=0, abs_tol=EXACT if exact else ROUGH):
        raise UserError(
            f"the selected weights, loaded again, have a validation loss of {loss:.4f}, and in training it was "
            f"{before:.4f}: peft does not save all that {cell.technique} trains, or draws a part "
            "of it anew",
            where=cell.id,
            hint="Fix what is drawn by an argument of the technique (a seed), or leave the technique out.",
        )
