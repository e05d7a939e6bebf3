"""raypeft generate: candidates for intents from a cell's selected weights."""

import sys
from typing import Annotated, Any

import typer

from raypeft.cli.arguments import CellArgument, JsonOption, RunArgument, TrustOption, find_cell, find_run
from raypeft.errors import UserError
from raypeft.execution.guards import check_versions
from raypeft.output.console import counting, echo, echo_json, echo_lines
from raypeft.output.text import one_line, printable


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
        row["candidates"], row["scores"] = row["candidates"][:candidates], row["scores"][:candidates]
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
