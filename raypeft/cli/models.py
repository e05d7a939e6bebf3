"""raypeft generate and export: using the selected weights of a cell."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from raypeft.cli.arguments import CellArgument, JsonOption, RunArgument, TrustOption, find_run
from raypeft.errors import UserError
from raypeft.execution.guards import check_versions
from raypeft.output.console import counting, echo, echo_json, echo_lines
from raypeft.output.text import one_line, printable
from raypeft.runs.folder import find_cell


def generate(
    run: RunArgument,
    cell: CellArgument,
    intents: Annotated[list[str], typer.Argument(metavar="INTENT…", help="texts; - reads one a line from stdin")],
    candidates: Annotated[int | None, typer.Option(min=1, help="how many to show (default: the study's)")] = None,
    trust_remote_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print candidates for intents, found with the study's prompt and beam search, best first."""
    found = find_run(run)
    chosen = find_cell(found, cell)
    most = found.plan.resolved.study.test.candidates
    if candidates is not None and candidates > most:
        raise UserError(f"the study's search keeps {most} candidates, not {candidates}", where="--candidates")
    texts = _texts(intents)
    check_versions()
    echo(f"Loading {chosen.id}", err=True)
    from raypeft.evaluation.generate import generate as search

    with counting("Intents", len(texts)) as progress:
        rows = search(found, chosen, texts, progress, trust_remote_code=trust_remote_code)
    for row in rows:
        row |= {key: row[key][:candidates] for key in ("candidates", "scores")}
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        echo_lines(_lines(row))


def _texts(intents: list[str]) -> list[str]:
    texts = [line for text in intents for line in (sys.stdin.read().splitlines() if text == "-" else [text])]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise UserError("there is no intent", hint='For example "sort a list in descending order"')
    return texts


def _lines(row: dict[str, Any]) -> list[str]:
    lines = [one_line(row["intent"])]
    for number, (text, score) in enumerate(zip(row["candidates"], row["scores"], strict=True), start=1):
        first, *rest = printable(text).splitlines() or [""]
        lines += [f"{number:4}  {score:7.3f}  {first}", *(f"{'':15}{line}" for line in rest)]
    return [*lines, ""]


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
