"""raypeft report: build the report of a run again."""

import typer

from raypeft.cli.arguments import RunArgument, find_run


def report(run: RunArgument) -> None:
    """Build tables, figures and HTML again from what the run folder holds, also while the run goes on."""
    from raypeft.report import write

    typer.echo(write(find_run(run)))
