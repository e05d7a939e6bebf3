"""What `raypeft study NAME --plan` prints."""

from rich.console import Console
from rich.table import Table

from raypeft.spec.plan import Plan


def show_plan(plan: Plan, console: Console) -> None:
    """Cells, trials, rungs, jobs and totals."""
    resolved, study = plan.resolved, plan.resolved.study
    console.print(f"Study {resolved.name}: {study.question}\n", highlight=False, markup=False)
    table = Table("model", "dataset", "technique", "trials", "searched", box=None, pad_edge=False)
    for cell in plan.cells:
        space = resolved.techniques[cell.technique].search
        table.add_row(cell.model, cell.dataset, cell.technique, str(study.search.trials), ", ".join(space))
    console.print(table)
    reports = f"{plan.reports} reports (every {study.training.evaluate_every:g} epoch) and one before training"
    if study.early_stopping is None:
        stopping = "no early stopping"
    elif plan.rungs:
        stopping = f"ASHA keeps the best 1/{study.early_stopping.factor} at reports {', '.join(map(str, plan.rungs))}"
    else:
        stopping = "no rung before the last report, so no early stopping"
    icl, by_loss = study.icl, study.validation.select_by == "loss"
    lines = [
        f"Trial      at most {study.training.epochs:g} epochs: {reports}",
        f"Stopping   {stopping}",
        f"Selection  {'lowest validation loss' if by_loss else 'highest validation EM@10'}",
        f"Test       {len(plan.cells)} jobs, {study.test.beams} beams, {study.test.candidates} candidates",
        f"ICL        {len(plan.icl_jobs)} jobs"
        + (
            f": {', '.join(map(str, icl.examples))} examples x {len(icl.seeds)} seeds (zero examples once)"
            if icl
            else ""
        ),
        f"Total      {len(plan.cells)} cells, {plan.trials} trials, {len(plan.cells) + len(plan.icl_jobs)} jobs",
    ]
    console.print("\n" + "\n".join(lines), highlight=False, markup=False, soft_wrap=True)
