"""The verbs of the command line, each of whose modules is imported when it is called."""

from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperGroup

from raypeft.errors import UserError

LONGEST_VERB = 80  # characters of what stands for a verb that typer may quote

# In the order of the help, which needs no module of a verb.
VERBS = {
    "study": "Run a study, or go on with it where it was interrupted.",
    "status": "Show the progress of cells, trials and jobs.",
    "trials": "List the trials that have begun.",
    "trial": "Show one trial: curve, memory, files, predictions.",
    "dashboard": "Say where Ray's dashboard is and how to get in.",
    "report": "Build tables, figures and HTML again.",
    "recommend": "Recommend a technique within memory and time.",
    "generate": "Print candidates for intents of your own.",
    "export": "Write a cell's adapter as a folder that peft loads.",
    "evaluate": "Test a model, or an adapter made elsewhere.",
    "list": "List models, datasets, techniques or studies.",
    "fetch": "Fetch every model and data set of a study.",
    "doctor": "Check packages, hardware, disk and hub.",
    "data": "Check a data set, or build one from its source.",
}


class Verbs(TyperGroup):
    """A group of commands that are imported when they are called (typer.core.TyperGroup)."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(Any, dict.fromkeys(VERBS))  # the names, from which typer makes its suggestions

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a verb; none where there is no such verb.

        Raises:
            UserError: what stands for a verb is too long to be said.
        """
        if len(cmd_name) > LONGEST_VERB:
            from raypeft.spec.values import quoted

            raise UserError(f"there is no verb {quoted(cmd_name)}", hint="raypeft --help lists them.")
        if cmd_name in VERBS and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _command(cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of verbs."""
        with formatter.section("Commands"):
            formatter.write_dl([*VERBS.items()])


# Modules that have several verbs; any other verb has a module of its name.
MODULES = {
    "status": "runs",
    "trials": "runs",
    "trial": "runs",
    "report": "results",
    "recommend": "results",
    "generate": "models",
    "export": "models",
    "list": "catalogue",
    "fetch": "catalogue",
}


def _command(verb: str) -> Any:
    """The click command that typer makes of a verb's function, or of its group of functions."""
    module = import_module(f"raypeft.cli.{MODULES.get(verb, verb)}")
    group = getattr(module, verb, None) or getattr(module, f"{verb}_")
    if not isinstance(group, typer.Typer):
        function = group
        group = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        group.command(verb)(function)
    command = typer.main.get_command(group)
    command.name = verb
    return command
