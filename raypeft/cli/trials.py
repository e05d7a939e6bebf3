"""raypeft trials: one line a trial."""

from dataclasses import asdict
from typing import Any

from rich.text import Text

from raypeft.cli.arguments import JsonOption, RunArgument, find_run
from raypeft.output.console import echo, echo_json, lines_table, print_lines
from raypeft.output.text import ABSENT, hyperparameters, loss, one_line, percent
from raypeft.report.numbers.trials import Trial, read_trials


def trials(run: RunArgument, as_json: JsonOption = False) -> None:
    """List the trials that have begun: hyperparameters, best loss, EM@10, state and reason it ended."""
    found = find_run(run)
    rows = read_trials(found)
    if as_json:
        echo_json([_content(trial) for trial in rows])
        return
    table = lines_table(
        "trial",
        "reports",
        "best loss",
        "EM@10",
        "state",
        "hyperparameters",
        "reason",
        right=("reports", "best loss", "EM@10"),
    )
    for trial in rows:
        table.add_row(
            Text(trial.name),
            str(trial.reports),
            ABSENT if trial.best_loss is None else loss(trial.best_loss),
            ABSENT if trial.best_em is None else percent(trial.best_em),
            f"{trial.state}, selected" if trial.selected is not None else trial.state,
            Text(one_line(hyperparameters(trial.hyperparameters)) or ABSENT),
            Text(one_line(trial.reason or "")),
        )
    print_lines(table)
    if waiting := found.plan.trials - len(rows):
        echo(f"{waiting} of {found.plan.trials} trials have not begun.")


def _content(trial: Trial) -> dict[str, Any]:
    return {**asdict(trial), "cell": trial.cell.id}
