"""Exporting a cell's selected weights."""

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from raypeft.data.chat import ChatPrompts, prompts_for
from raypeft.errors import UserError
from raypeft.export.card import UNKNOWN, Export, card
from raypeft.export.check import check_folder
from raypeft.export.folder import effective_precision, export_adapter, export_model
from raypeft.export.snippet import Snippet
from raypeft.modeling.layout import foreign_cores
from raypeft.modeling.source import model_config, model_tokenizer, origin
from raypeft.runs.checkpoints import Checkpoint
from raypeft.runs.folder import Run
from raypeft.runs.selection import check_consent, selected
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

    What is written is loaded in a process of its own as the card says, and must give the test's candidates.

    Args:
        run: the run.
        cell: its cell.
        folder: where to write; it must be empty or not exist.
        merge: merge the adapter into the base model and write the whole model.
        base_model: what to call the base model; its hub id or name in the study where nothing is given.
        name: what the card calls the exported folder, where that is not its own name.
        license: identifier for the card's metadata.
        trust_remote_code: whether code may run that the model brings along.

    Raises:
        UserError: the cell has no selected weights, the folder holds something or cannot be written, the technique
            cannot be merged, the model needs code of its own that may not run, or what is written is not the model that
            was tested.
    """
    check_consent(run, cell, given=trust_remote_code)
    selection = selected(run, cell)
    if damage := Checkpoint(run.cell_folder(cell) / "best", None, None, selection.files or {}).damage():
        raise UserError(f"the selected weights are damaged: {damage}", where=cell.id)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError("is not empty", where=str(folder), hint="Choose another folder.")
    place = folder.absolute()
    made = [parent for parent in place.parents if not parent.exists()]
    written = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        written.mkdir(parents=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        write(run, cell, written, merge=merge, base_model=base_model, name=name or place.name, license=license)
        if place.exists():
            place.rmdir()
        written.replace(place)
        made = []
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(written, ignore_errors=True)
        with suppress(OSError):  # not empty: somebody else's as well
            for parent in made:
                parent.rmdir()


def write(
    run: Run,
    cell: Cell,
    folder: Path,
    *,
    merge: bool,
    base_model: str | None,
    name: str,
    license: str,
    check: bool = True,
) -> None:
    """Write weights and card into an empty folder, and compare it with the test.

    Args:
        run, cell, merge, base_model, name, license: as `export` has them.
        folder: where to write; it exists.
        check: whether to compare.
    """
    resolved = run.plan.resolved
    entry, technique = resolved.models[cell.model], resolved.techniques[cell.technique]
    whole = merge or technique.kind == "full"
    precision = "fp32" if technique.kind == "full" else effective_precision(run, cell)
    called = base_model or entry.hub or cell.model
    if whole:
        export_model(run, cell, folder, precision)
    else:
        export_adapter(run, cell, folder, called)
    architecture: Architecture = "encoder_decoder" if model_config(cell.model, entry).is_encoder_decoder else "decoder"
    tokenizer = model_tokenizer(cell.model, entry)
    prompts = prompts_for(resolved.study.protocol, cell.model, entry, tokenizer, architecture)
    dataset, test = resolved.datasets[cell.dataset], resolved.study.test
    shown = Snippet(
        folder=name,
        base_model=None if whole else called,
        revision=entry.revision,
        remote_code=entry.trust_remote_code,
        architecture=architecture,
        precision=precision,
        quantization=technique.quantization,
        cores=foreign_cores(entry),
        prompt=prompts.test("{intent}"),
        end=prompts.end if isinstance(prompts, ChatPrompts) else None,
        beams=test.beams,
        candidates=test.candidates,
        max_new_tokens=dataset.max_code_tokens,
        stop_strings=tuple(dataset.stop_strings),
    )
    exported = Export(run, cell, called, architecture, shown, merge and technique.kind == "adapter", license)
    (folder / "README.md").write_text(card(exported), encoding="utf-8")
    if check:
        base = None if whole else origin(cell.model, entry)[0]
        here = replace(shown, folder=str(folder), base_model=base, revision=None)
        check_folder(run, cell, here, prompts, exact=precision == "fp32" and technique.quantization is None)


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot be written: {error.strerror or error}", where=str(folder), hint="Choose another folder.")
