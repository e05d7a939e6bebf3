"""Precision of base weights: what the hardware and the model bear, and quantisation by bitsandbytes."""

import importlib.util
import logging
from dataclasses import dataclass
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from raypeft.errors import UserError
from raypeft.spec.sections import Effective, Precision, effective
from raypeft.spec.technique import Quantization

DTYPES: dict[Effective, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NO_BITSANDBYTES = "quantised weights need the package bitsandbytes: pip install bitsandbytes"


@dataclass(frozen=True)
class Hardware:
    """What decides on precision: whether there is a GPU, and whether it computes in bf16."""

    gpu: bool
    bf16: bool

    @classmethod
    def here(cls) -> "Hardware":
        """This process's hardware; a GPU that only emulates bf16 does not have it."""
        gpu = torch.cuda.is_available()
        return cls(gpu, gpu and torch.cuda.is_bf16_supported(including_emulation=False))

    @property
    def device(self) -> str:
        """Where models are loaded to."""
        return "cuda" if self.gpu else "cpu"


def compute_dtype(precision: Precision, model_type: str, hardware: Hardware) -> torch.dtype:
    """What a base model computes in, and its weights are kept in unless they are quantised (`spec.precision`).

    Args:
        precision: as the study asks.
        model_type: of the model's transformers configuration.
        hardware: where it runs.

    Raises:
        UserError: fp16 is asked for without a GPU.
    """
    if precision == "fp16" and not hardware.gpu:
        raise UserError("fp16 needs a GPU", where="training.precision", hint="Take fp32 or bf16.")
    return DTYPES[effective(precision, model_type, gpu=hardware.gpu, bf16=hardware.bf16)]


def name_of(dtype: torch.dtype) -> Effective:
    """The name of a precision that models compute in."""
    return next(name for name, known in DTYPES.items() if known == dtype)


def check_unquantized(config: Any, source: str, where: str) -> None:
    """Check that a checkpoint is not stored quantised: whether a base is quantised, and how, is its technique's to say.

    Args:
        config: of transformers.
        source: hub id or folder it comes from.
        where: key of the model, for messages.

    Raises:
        UserError: it is.
    """
    stored = getattr(config, "quantization_config", None)
    if stored is None:
        return
    told = stored if isinstance(stored, dict) else stored.to_dict()
    bits = next((f", {size} bits" for size in (4, 8) if told.get(f"load_in_{size}bit")), "")
    raise UserError(
        f"{source} is stored quantised ({told.get('quant_method', 'unknown')}{bits})",
        where=where,
        hint="Take the model that it was made from; it is quantised by techniques (qlora_4bit, qlora_8bit).",
    )


def has_bitsandbytes() -> bool:
    """Whether quantised weights can be loaded."""
    return importlib.util.find_spec("bitsandbytes") is not None


def quantization_config(quantization: Quantization, dtype: torch.dtype) -> BitsAndBytesConfig:
    """int8 with outliers in half precision (Dettmers et al., 2022), or nf4 with double quantisation (QLoRA, 2023).

    Raises:
        UserError: bitsandbytes is not installed.
    """
    if not has_bitsandbytes():
        raise UserError(NO_BITSANDBYTES)
    if quantization == "8bit":
        # It says at every product that int8 weights take fp32 activations in fp16.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def keep_unpacked(model: Any) -> None:
    """Keep bitsandbytes on CPUs from packing 4-bit weights at their first use in evaluation.

    Packed weights compute in bf16 and pass no gradient on, so that training would go wrong after the first evaluation.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
