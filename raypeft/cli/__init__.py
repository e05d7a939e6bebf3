"""The command line: one module a verb."""

import logging
import sys
import warnings
from typing import NoReturn

import typer
from rich.console import Console

from raypeft.cli.verbs import Verbs
from raypeft.errors import UserError

app = typer.Typer(
    name="raypeft",
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def raypeft() -> None:
    """Studies of parameter-efficient fine-tuning for code models: early-stopped search, test, report."""


def main() -> None:
    """Entry point; a user's mistake ends with one message and exit code 2."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\.")
    # It warns, when imported, about a kernel that it would have fetched from a hub.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        app()
    except UserError as error:
        _refuse(str(error))
    except OSError as error:  # a file or folder that is not as it should be, or another user's
        if error.filename is None:
            raise
        _refuse(f"{error.filename}: {error.strerror}")
    finally:
        if arguments := sys.modules.get("raypeft.cli.arguments"):  # not for verbs that read no run
            arguments.say_faults()


def _refuse(text: str) -> NoReturn:
    Console(stderr=True).print(f"raypeft: {text}", highlight=False, markup=False, soft_wrap=True)
    sys.exit(2)
