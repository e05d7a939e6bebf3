"""The command line: one module a verb."""

import errno
import io
import logging
import os
import sys
import warnings
from typing import NoReturn

import typer

from raypeft.cli.verbs import Verbs
from raypeft.errors import UserError

# What no file system or permission lets a command do; other errors of the system are faults of the program.
REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOSPC, errno.EDQUOT}

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
    """Run the command; a user's mistake ends with one message and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what the terminal's encoding lacks does not end the command
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\.")
    # It warns, when imported, about a kernel that it would have fetched from a hub.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        app()
    except UserError as error:
        refuse(error)
    except OSError as error:
        if error.errno not in REFUSALS or error.filename is None:
            raise
        refuse(UserError(str(error.strerror), where=os.fsdecode(error.filename)))
    finally:
        if arguments := sys.modules.get("raypeft.cli.arguments"):  # not for verbs that read no run
            arguments.say_faults()


def refuse(error: UserError) -> NoReturn:
    """End with a message."""
    from raypeft.output.console import echo_error

    echo_error(error)
    sys.exit(2)
