"""What `training.precision` comes to for a model on a machine; needs no torch."""

from collections.abc import Collection
from typing import Literal

from raypeft.spec.sections import Precision

Effective = Literal["fp32", "bf16", "fp16"]

# Their activations exceed the range of fp16, and the loss becomes NaN.
OVERFLOW_IN_FP16 = frozenset({"t5", "mt5", "umt5", "longt5", "switch_transformers"})
BF16_CAPABILITY = 8.0  # of the first NVIDIA GPUs that compute in bf16


def effective(precision: Precision, model_type: str, *, gpu: bool, bf16: bool) -> Effective:
    """What a base model computes in.

    `auto` is bf16 on GPUs that have it, fp16 on others, and fp32 without a GPU. Models that overflow in fp16 take fp32
    wherever fp16 is asked for or chosen.

    Args:
        precision: as the study asks.
        model_type: of the model's transformers configuration.
        gpu: whether there is a GPU.
        bf16: whether it computes in bf16.
    """
    if precision == "auto":
        precision = ("bf16" if bf16 else "fp16") if gpu else "fp32"
    return "fp32" if precision == "fp16" and model_type in OVERFLOW_IN_FP16 else precision


def foreseen_precision(
    precision: Precision, model_type: str | None, capabilities: Collection[float] | None
) -> Effective | None:
    """What a base model will compute in on a machine's GPUs, none where that cannot be told.

    Args:
        precision: as the study asks.
        model_type: as above; none where it is not known.
        capabilities: compute capabilities of the GPUs that trials may run on, none where they are not known.
    """
    if capabilities is None and precision == "auto":
        return None
    kinds = {
        effective(precision, model_type or "", gpu=True, bf16=capability >= BF16_CAPABILITY)
        for capability in capabilities or ()
    } or {effective(precision, model_type or "", gpu=False, bf16=False)}
    if len(kinds) > 1 or (model_type is None and "fp16" in kinds):
        return None
    return kinds.pop()
