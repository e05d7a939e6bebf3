"""What peft's adapter file leaves out and training needs to go on.

P-tuning saves what its encoder puts out, not the encoder. AdaLoRA saves the singular values within its budget, not
those that may still come back, nor the importances by which they do.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors.torch import load_file, save_file

FILE = "training_state.safetensors"
WEIGHTS = "weights"
IMPORTANCES = ("ipt", "exp_avg_ipt", "exp_avg_unc")


def save_training_state(model: Any, folder: Path) -> None:
    """Write the trainable weights and importances beside the adapter, where the adapter file is not all of them."""
    config = model.active_peft_config if isinstance(model, peft.PeftModel) else None
    if not (isinstance(config, peft.PromptEncoderConfig | peft.AdaLoraConfig) or _projected(config)):
        return
    tensors = {f"{WEIGHTS}/{name}": weight.detach() for name, weight in _trainable(model)}
    for kind in IMPORTANCES:
        tensors |= {f"{kind}/{name}": value for name, value in getattr(_allocator(model), kind, {}).items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / FILE)


@torch.no_grad()
def load_training_state(model: Any, folder: Path) -> None:
    """Put back what `save_training_state` wrote."""
    tensors = load_file(folder / FILE, device=str(model.device))
    for name, weight in _trainable(model):
        weight.copy_(tensors[f"{WEIGHTS}/{name}"])
    for kind in IMPORTANCES:
        found = {key.partition("/")[2]: value for key, value in tensors.items() if key.partition("/")[0] == kind}
        if found:
            setattr(_allocator(model), kind, found)


def _projected(config: Any) -> bool:
    return isinstance(config, peft.PrefixTuningConfig) and config.prefix_projection


def _trainable(model: Any) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)


def _allocator(model: Any) -> Any:
    """AdaLoRA's allocator of ranks, none for other techniques."""
    return getattr(model.base_model, "rankallocator", None)
