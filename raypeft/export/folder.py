"""Writing the exported folder: an adapter, an adapter merged into its base model, or a whole model."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
from safetensors.torch import load_file, save_file

from raypeft.errors import UserError
from raypeft.export.rows import to_checkpoint_rows
from raypeft.files import write_json
from raypeft.modeling.loading import load_base
from raypeft.modeling.qkv import NATIVE_CORES
from raypeft.modeling.source import model_config
from raypeft.run import Run
from raypeft.spec.catalogue import ModelEntry
from raypeft.spec.plan import Cell

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def base_reference(name: str, entry: ModelEntry) -> str:
    """What the base model is called outside of the run: its hub id, else the folder it lies in."""
    return str(entry.hub or entry.path(f"models.{name}.folder"))


def export_adapter(run: Run, cell: Cell, folder: Path, base_model: str) -> None:
    """Write adapter weights and configuration as `peft.PeftModel.from_pretrained` reads them.

    Args:
        run: the run.
        cell: its cell; its technique has an adapter.
        folder: where to write; it exists.
        base_model: what the adapter's configuration calls its base model.

    Raises:
        UserError: the adapter's rows cannot be put into the checkpoint's order.
    """
    best, entry = run.cell_folder(cell) / "best", run.plan.resolved.models[cell.model]
    config = json.loads((best / CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_model
    config["revision"] = entry.revision
    if config.get("tokenizer_name_or_path"):
        config["tokenizer_name_or_path"] = base_model
    if entry.qkv_layout in (None, NATIVE_CORES):
        shutil.copy2(best / WEIGHTS, folder / WEIGHTS)
    else:
        width = model_config(cell.model, entry).n_embd
        moved = to_checkpoint_rows(load_file(best / WEIGHTS), width, entry.qkv_layout)
        save_file(moved, folder / WEIGHTS, metadata={"format": "pt"})
    write_json(folder / CONFIG, config)


def export_model(run: Run, cell: Cell, folder: Path) -> None:
    """Write a whole model with its tokenizer: the fully fine-tuned one, or the base with the adapter merged into it.

    An adapter of quantised weights is merged into the weights as they were before quantisation.

    Args:
        run: the run.
        cell: its cell.
        folder: where to write; it exists.

    Raises:
        UserError: the technique's adapter is made of virtual tokens, or the base model cannot be loaded.
    """
    resolved = run.plan.resolved
    technique, best = resolved.techniques[cell.technique], run.cell_folder(cell) / "best"
    if technique.kind == "adapter":
        check_mergeable(technique.title, json.loads((best / CONFIG).read_text(encoding="utf-8")))
    precision = resolved.study.training.precision
    base = load_base(cell.model, resolved.models[cell.model], precision)
    if technique.kind == "adapter":
        model = peft.PeftModel.from_pretrained(base.model, str(best)).merge_and_unload()
    else:
        model = type(base.model).from_pretrained(str(best))
    if hasattr(model.config, "auto_map"):
        # The weights are in the order of transformers' own class, not of the code the checkpoint came with.
        del model.config.auto_map
    model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)


def check_mergeable(technique: str, config: Mapping[str, Any]) -> None:
    """Raise where an adapter's configuration is of one that is not part of the model's layers.

    Raises:
        UserError: it is made of virtual tokens.
    """
    kind = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(config["peft_type"])]
    if issubclass(kind, peft.PromptLearningConfig):
        raise UserError(
            f"{technique} adds virtual tokens before the text, which cannot be merged into a model's weights",
            where="--merge",
            hint="Export the adapter without --merge.",
        )
