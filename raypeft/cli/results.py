"""raypeft report and recommend: what a run has found."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text

from raypeft.cli.arguments import JsonOption, RunArgument, find_run
from raypeft.errors import UserError
from raypeft.output import text as show
from raypeft.output.console import echo, echo_json, echo_lines, lines_table, print_lines
from raypeft.output.files import is_writable
from raypeft.output.text import duration
from raypeft.report.numbers.gather import Numbers, gather

if TYPE_CHECKING:
    from raypeft.recommendation.candidates import Budget, Candidate
    from raypeft.recommendation.choice import Recommendation


def report(
    run: RunArgument,
    as_format: Annotated[
        Literal["html", "peft"],
        typer.Option("--format", help="html with tables and figures, or the schema of peft's method_comparison"),
    ] = "html",
) -> None:
    """Build tables, figures and HTML again from what the run folder holds, also while the run goes on."""
    from raypeft.report import write, write_peft

    found = find_run(run)
    if not is_writable(found.report_folder):
        hint = "Copy the run, and report on the copy."
        raise UserError("cannot be written", where=str(found.report_folder), hint=hint)
    echo((write if as_format == "html" else write_peft)(found))


def recommend(
    run: RunArgument,
    gpu_memory: Annotated[float | None, typer.Option(min=0, help="GiB of the card that will train")] = None,
    max_hours: Annotated[float | None, typer.Option(min=0, help="longest training of one point, in hours")] = None,
    model: Annotated[str | None, typer.Option(help="only this model")] = None,
    dataset: Annotated[str | None, typer.Option(help="only this test set")] = None,
    as_json: JsonOption = False,
) -> None:
    """Recommend a technique and its hyperparameters within limits, with alternatives and how sure that is.

    It goes by what the run measured: EM@k on the test, peak memory, training time, trained weights.
    """
    found = find_run(run)
    resolved = found.plan.resolved
    for option, value, known in (("--model", model, resolved.models), ("--dataset", dataset, resolved.datasets)):
        if value is not None and value not in known:
            raise UserError(f"'{value}' is not in the study", where=option, hint=f"It has: {', '.join(known)}")
    from raypeft.recommendation.candidates import Budget
    from raypeft.recommendation.choice import recommend as choose

    numbers, limits = gather(found), Budget(gpu_memory, max_hours)
    recommendations = choose(numbers, limits, model=model, dataset=dataset)
    if as_json:
        echo_json([_content(numbers, one, limits) for one in recommendations])
        return
    for one in recommendations:
        _print(numbers, one, limits)


def _print(numbers: Numbers, found: "Recommendation", limits: "Budget") -> None:
    from raypeft.metrics.entries import compared_metrics
    from raypeft.recommendation.wording import caveats, confidence, costs, title

    data = numbers.run.plan.resolved.datasets[found.test_set].title
    bounds = [f"{limits.gpu_memory_gib:g} GiB"] if limits.gpu_memory_gib is not None else []
    bounds += [f"{limits.hours:g} h of training"] if limits.hours is not None else []
    within = f" within {show.joined(bounds)}" if bounds else ""
    best = found.best
    if best is None:
        echo_lines([f"For {data}{within}: nothing that the study has tested."])
    else:
        point = show.hyperparameters(best.row.selection.point)
        interval = f" (95 % interval {show.interval(found.interval)})" if found.interval else ""
        reached = f"EM@{numbers.k} {show.percent(best.value)} %{interval}"
        for key, metric in compared_metrics().items():
            if (value := best.row.metrics.get(key)) is not None:
                reached += f", {metric.title} {metric.text(value)}"
        echo_lines([f"For {data}{within}: {title(numbers, best)}"])
        echo_lines([f"  with {point}"])
        echo_lines([f"  {reached} on {found.items} test items"])
        echo_lines([f"  {costs(best)}"])
        echo("\nHow sure")
        for line in [*confidence(numbers, found), *caveats(numbers, limits.gpu_memory_gib is not None)]:
            echo_lines([f"  {line}"])
        echo("\nCandidates (* on the Pareto front of EM, memory, time and trained weights)")
        _print_table(numbers, found)
    if found.left_out:
        echo("\nLeft out")
        for line in found.left_out:
            echo_lines([f"  {show.one_line(line)}"])
    echo("")


def _print_table(numbers: Numbers, found: "Recommendation") -> None:
    from raypeft.recommendation.wording import title

    right = (f"EM@{numbers.k}", "below", "p", "MiB", "training", "trained")
    table = lines_table("", *right, "candidate", "hyperparameters", right=right)
    rows: list[tuple[Candidate, str, str]] = [(found.best, show.ABSENT, show.ABSENT)] if found.best else []
    rows += [
        (rival.candidate, show.percent(rival.difference), show.ABSENT if rival.p is None else show.p_value(rival.p))
        for rival in found.rivals
    ]
    for candidate, below, p in rows:
        table.add_row(
            "*" if candidate.row.name in found.front else "",
            show.percent(candidate.value),
            below,
            p,
            show.ABSENT if candidate.memory_mib is None else show.mebibytes(candidate.memory_mib),
            duration(candidate.seconds),
            show.count(candidate.trainable),
            Text(title(numbers, candidate)),
            Text(show.one_line(show.hyperparameters(candidate.row.selection.point))),
        )
    print_lines(table)


def _content(numbers: Numbers, found: "Recommendation", limits: "Budget") -> dict[str, Any]:
    from raypeft.metrics.entries import compared_metrics
    from raypeft.recommendation.wording import caveats, confidence

    def candidate(one: "Candidate") -> dict[str, Any]:
        return {
            "cell": one.row.cell.id,
            "hyperparameters": one.row.selection.point,
            numbers.metric: one.value,
            **{key: one.row.metrics.get(key) for key in compared_metrics()},
            "memory_mib": one.memory_mib,
            "training_seconds": one.seconds,
            "trainable_parameters": one.trainable,
            "on_pareto_front": one.row.name in found.front,
        }

    statements = confidence(numbers, found) if found.best else []
    return {
        "test_set": found.test_set,
        "items": found.items,
        "limits": {"gpu_memory_gib": limits.gpu_memory_gib, "hours": limits.hours},
        "recommended": found.best
        and candidate(found.best) | {"interval": asdict(found.interval) if found.interval else None},
        "alternatives": [
            candidate(rival.candidate)
            | {
                "difference": rival.difference,
                "difference_interval": asdict(rival.interval) if rival.interval else None,
                "p_holm": rival.p,
                "is_worse": rival.is_worse,
            }
            for rival in found.rivals
        ],
        "confidence": [*statements, *caveats(numbers, limits.gpu_memory_gib is not None)],
        "left_out": list(found.left_out),
    }
