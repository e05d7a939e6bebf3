"""Exporting a cell's selected weights."""

import os
import shutil
from pathlib import Path

from raypeft.consent import check_consent
from raypeft.data.chat import prompts_for
from raypeft.errors import UserError
from raypeft.export.card import UNKNOWN, Export, write_card
from raypeft.export.folder import base_reference, export_adapter, export_model
from raypeft.modeling.loading import model_config, model_tokenizer
from raypeft.run import Run
from raypeft.selection import selected
from raypeft.spec.catalogue import Architecture
from raypeft.spec.plan import Cell


def export(
    run: Run,
    cell: Cell,
    folder: Path,
    *,
    merge: bool = False,
    base_model: str | None = None,
    name: str | None = None,
    license: str = UNKNOWN,
    trust_remote_code: bool = False,
) -> None:
    """Write a cell's selected weights, with a model card, as others load them; all of it or nothing.

    Args:
        run: the run.
        cell: its cell.
        folder: where to write; it must be empty or not exist.
        merge: merge the adapter into the base model and write the whole model.
        base_model: what to call the base model; its hub id or folder in the study where nothing is given.
        name: what the card calls the exported folder, where that is not its path.
        license: identifier for the card's metadata.
        trust_remote_code: whether code may run that the model brings along.

    Raises:
        UserError: the cell has no selected weights, the folder holds something, the technique cannot be merged, or the
            model needs code of its own that may not run.
    """
    check_consent(run, cell, given=trust_remote_code)
    resolved = run.plan.resolved
    selected(run, cell)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError("is not empty", where=str(folder), hint="Choose another folder.")
    whole = resolved.techniques[cell.technique].kind == "full"
    entry = resolved.models[cell.model]
    base_model = base_model or base_reference(cell.model, entry)
    config = model_config(cell.model, entry)
    written = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    written.mkdir(parents=True)
    try:
        if whole or merge:
            export_model(run, cell, written)
        else:
            export_adapter(run, cell, written, base_model)
        architecture: Architecture = "encoder_decoder" if config.is_encoder_decoder else "decoder"
        tokenizer = model_tokenizer(cell.model, entry)
        prompts = prompts_for(resolved.study.protocol, cell.model, entry, tokenizer, architecture)
        called = name or str(folder)
        write_card(Export(run, cell, base_model, architecture, prompts, called, merge and not whole, license), written)
        if folder.exists():
            folder.rmdir()
        written.replace(folder)
    finally:
        shutil.rmtree(written, ignore_errors=True)
