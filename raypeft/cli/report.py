"""raypeft report: build the report of a run again."""

from enum import StrEnum
from typing import Annotated

import typer

from raypeft.cli.arguments import RunArgument, find_run
from raypeft.errors import UserError
from raypeft.output.console import echo
from raypeft.output.files import is_writable


class Format(StrEnum):
    """What a report is written as."""

    HTML = "html"
    PEFT = "peft"


def report(
    run: RunArgument,
    as_format: Annotated[
        Format,
        typer.Option("--format", help="html with tables and figures, or the schema of peft's method_comparison"),
    ] = Format.HTML,
) -> None:
    """Build tables, figures and HTML again from what the run folder holds, also while the run goes on."""
    from raypeft.report import write, write_peft

    found = find_run(run)
    if not is_writable(found.report_folder):
        hint = "Copy the run, and report on the copy."
        raise UserError("cannot be written", where=str(found.report_folder), hint=hint)
    echo((write if as_format is Format.HTML else write_peft)(found))
