"""What `raypeft study NAME --plan` prints."""

import typer

from raypeft.cli.output import lines_table, print_lines
from raypeft.spec.plan import Plan


def show_plan(plan: Plan) -> None:
    """Print cells, trials, rungs, jobs and totals."""
    resolved, study = plan.resolved, plan.resolved.study
    typer.echo(f"Study {resolved.name}: {study.question}\n")
    table = lines_table("model", "dataset", "technique", "trials", "searched", right=("trials",))
    for cell in plan.cells:
        space = resolved.techniques[cell.technique].search
        source = study.protocol.point_of(cell.technique)
        searched = ", ".join(space) if study.mode == "search" else f"nothing: the {source}'s point"
        table.add_row(cell.model, cell.dataset, cell.technique, str(study.trials), searched)
    print_lines(table)
    reports = f"{plan.reports} reports (every {study.training.evaluate_every:g} epoch) and one before training"
    by_loss = study.validation.select_by == "loss"
    lines = [
        "",
        f"Trial      at most {study.training.epochs:g} epochs: {reports}",
        f"Protocol   {_protocol(plan)}",
        f"Stopping   {_stopping(plan)}",
        f"Selection  {'lowest validation loss' if by_loss else 'highest validation EM@10'}",
        f"Test       {len(plan.test_jobs)} jobs, {study.test.beams} beams, {study.test.candidates} candidates",
        f"ICL        {len(plan.icl_jobs)} jobs{_draws(plan)}",
        f"Total      {len(plan.cells)} cells, {plan.trials} trials, {len(plan.test_jobs) + len(plan.icl_jobs)} jobs",
    ]
    typer.echo("\n".join(lines))


def _protocol(plan: Plan) -> str:
    chosen = plan.resolved.study.protocol.model_dump(exclude_defaults=True)
    return ", ".join(f"{key} {value}" for key, value in chosen.items()) or "nothing but defaults"


def _stopping(plan: Plan) -> str:
    stopping = plan.resolved.study.stopping
    if stopping is None:
        return "no early stopping"
    if not plan.rungs:
        return "no rung before the last report, so no early stopping"
    return f"ASHA keeps the best 1/{stopping.factor} at reports {', '.join(map(str, plan.rungs))}"


def _draws(plan: Plan) -> str:
    icl = plan.resolved.study.icl
    if icl is None:
        return ""
    once = " (zero examples once)" if 0 in icl.examples else ""
    return f": {', '.join(map(str, icl.examples))} examples x {len(icl.seeds)} seeds{once}"
