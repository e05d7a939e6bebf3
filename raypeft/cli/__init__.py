"""The command line: one file a verb."""

import logging
import sys
import warnings

import typer
from rich.console import Console

from raypeft.cli.dashboard import dashboard
from raypeft.cli.data import data
from raypeft.cli.doctor import doctor
from raypeft.cli.evaluate import evaluate
from raypeft.cli.export import export
from raypeft.cli.fetch import fetch
from raypeft.cli.generate import generate
from raypeft.cli.list import list_
from raypeft.cli.recommend import recommend
from raypeft.cli.report import report
from raypeft.cli.status import status
from raypeft.cli.study import study
from raypeft.cli.trial import trial
from raypeft.cli.trials import trials
from raypeft.errors import UserError

app = typer.Typer(
    name="raypeft",
    help="Studies of parameter-efficient fine-tuning for code models: early-stopped search, test, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("study")(study)
app.command("status")(status)
app.command("trials")(trials)
app.command("trial")(trial)
app.command("dashboard")(dashboard)
app.command("report")(report)
app.command("recommend")(recommend)
app.command("generate")(generate)
app.command("export")(export)
app.command("evaluate")(evaluate)
app.command("list")(list_)
app.command("fetch")(fetch)
app.command("doctor")(doctor)
app.add_typer(data, name="data")


def main() -> None:
    """Entry point; a user's mistake ends with one message and exit code 2."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\.")
    # It warns, when imported, about a kernel that it would have fetched from a hub.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        app()
    except UserError as error:
        Console(stderr=True).print(f"raypeft: {error}", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
