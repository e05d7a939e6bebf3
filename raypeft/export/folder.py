"""Writing the exported folder: an adapter, an adapter merged into its base model, or a whole model."""

import json
import shutil
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file

from raypeft.errors import UserError
from raypeft.modeling.adapter_files import CONFIG, WEIGHTS
from raypeft.modeling.layout import foreign_cores, to_checkpoint_rows
from raypeft.modeling.loading import load_base
from raypeft.modeling.precision import DTYPES, Hardware, compute_dtype, name_of
from raypeft.modeling.source import model_config
from raypeft.output.files import write_json
from raypeft.runs.folder import Run
from raypeft.runs.identity import precision_of
from raypeft.spec.plan import Cell
from raypeft.spec.sections import Effective


def effective_precision(run: Run, cell: Cell) -> Effective:
    """What a cell's base model computed in when it was tested, else what it comes to here."""
    tests = (run.test(cell, dataset) for dataset in run.plan.tests(cell))
    recorded: list[Any] = [found.precision for found in tests if found]
    if (manifest := run.manifest()).written:
        recorded.append(precision_of(run.plan, manifest, cell.model))
    known: Effective | None = next((one for one in recorded if one in tuple(DTYPES)), None)
    if known is None:
        entry, precision = run.plan.resolved.models[cell.model], run.plan.resolved.study.training.precision
        known = name_of(compute_dtype(precision, model_config(cell.model, entry).model_type, Hardware.here()))
    # What fp16 was computed in on a GPU, a CPU computes in fp32.
    return "fp32" if known == "fp16" and not Hardware.here().gpu else known


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
    if cores := foreign_cores(entry):
        moved = to_checkpoint_rows(load_file(best / WEIGHTS), model_config(cell.model, entry).n_embd, cores)
        save_file(moved, folder / WEIGHTS, metadata={"format": "pt"})
    else:
        shutil.copy2(best / WEIGHTS, folder / WEIGHTS)
    write_json(folder / CONFIG, config)


def export_model(run: Run, cell: Cell, folder: Path, precision: Effective) -> None:
    """Write a whole model with its tokenizer: the fully fine-tuned one, or the base with the adapter merged into it.

    An adapter of quantised weights is merged into the values that those stand for.

    Args:
        run: the run.
        cell: its cell.
        folder: where to write; it exists.
        precision: of the merged weights.

    Raises:
        UserError: the technique's adapter is made of virtual tokens or cannot be merged, or the base model cannot be
            loaded.
    """
    resolved = run.plan.resolved
    technique, best = resolved.techniques[cell.technique], run.cell_folder(cell) / "best"
    if technique.kind == "adapter":
        check_mergeable(technique.title, json.loads((best / CONFIG).read_text(encoding="utf-8")))
    base = load_base(cell.model, resolved.models[cell.model], precision, quantization=technique.quantization)
    try:
        model = merged(base.model, best) if technique.kind == "adapter" else type(base.model).from_pretrained(str(best))
        if hasattr(model.config, "auto_map"):
            # The weights are in the order of transformers' own class, not of the code the checkpoint came with.
            del model.config.auto_map
        model.save_pretrained(folder)
    except (ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise UserError(
            f"{technique.title} cannot be written as a whole model: {error}",
            where=cell.id,
            hint="Export the adapter without --merge." if technique.kind == "adapter" else None,
        ) from error
    base.tokenizer.save_pretrained(folder)


def merged(base_model: Any, adapter: Path) -> Any:
    """A base model with an adapter merged into it."""
    if getattr(base_model, "is_quantized", False):
        base_model = base_model.dequantize()
    with warnings.catch_warnings():
        # Of tied layers, which are seen to here.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"peft\.")
        model = peft.PeftModel.from_pretrained(base_model, str(adapter))
        _untie(model)
        whole: Any = model.merge_and_unload(safe_merge=True)
    embeddings = whole.get_input_embeddings(), whole.get_output_embeddings()
    if whole.config.tie_word_embeddings and len({layer.weight.data_ptr() for layer in embeddings if layer}) > 1:
        whole.config.tie_word_embeddings = False
    return whole


def _untie(model: peft.PeftModel) -> None:
    """Give layers weights of their own where merging or saving would confuse them with those that share them.

    These are adapted layers, such as an output layer that shares the embedding's, and layers that peft has doubled.
    """
    uses = Counter(weight.data_ptr() for _, weight in model.named_parameters(remove_duplicate=False))
    doubled = getattr(model.active_peft_config, "layer_replication", None)
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    layers = [layer.get_base_layer() for layer in model.modules() if isinstance(layer, BaseTunerLayer)]
    layers += [layer for layer in model.modules() if doubled and layer not in ends]
    for layer in layers:
        for name, weight in list(layer.named_parameters(recurse=False)):
            if uses[weight.data_ptr()] > 1:
                layer.register_parameter(name, torch.nn.Parameter(weight.detach().clone(), requires_grad=False))


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
