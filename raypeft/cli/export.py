"""raypeft export: a cell's selected weights for use elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from raypeft.cli.arguments import CellArgument, RunArgument, TrustOption, find_cell, find_run
from raypeft.output.console import echo


def export(
    run: RunArgument,
    cell: CellArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="where to write; must be empty or not exist")],
    merge: Annotated[bool, typer.Option("--merge", help="merge the adapter, and write the whole model")] = False,
    base_model: Annotated[
        str | None, typer.Option(help="what the base model is called where this is used: a hub id or a folder")
    ] = None,
    license: Annotated[str, typer.Option(help="licence in the model card's metadata")] = "unknown",
    push: Annotated[
        str | None, typer.Option(metavar="REPO", help="also upload it to this repository of the hub, made if absent")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="make the repository of --push a private one")] = False,
    trust_remote_code: TrustOption = False,
) -> None:
    """Write a cell's selected adapter as a folder that peft loads, with a model card; or the whole model.

    PeftModel.from_pretrained(model, DIR) loads it without raypeft, as the card shows.
    """
    found = find_run(run)
    chosen = find_cell(found, cell)
    from raypeft.export.export import export as write
    from raypeft.export.push import push as upload

    echo(f"Exporting {chosen.id}", err=True)
    write(
        found,
        chosen,
        folder,
        merge=merge,
        base_model=base_model,
        name=push,
        license=license,
        trust_remote_code=trust_remote_code,
    )
    echo(folder)
    if push:
        echo(f"Uploading to {push}", err=True)
        echo(upload(folder, push, private=private))
