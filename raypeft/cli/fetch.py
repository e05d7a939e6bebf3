"""raypeft fetch: have every model and data set of a study in the cache."""

from typing import Annotated

import typer

from raypeft.output.console import echo, terminal
from raypeft.spec.resolve import ResolvedStudy, resolve

INTERRUPTED = 130


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="a shipped study, one in ./studies, or a file")],
    model: Annotated[list[str] | None, typer.Option(help="only this model; may be repeated")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="only this data set; may be repeated")] = None,
    technique: Annotated[list[str] | None, typer.Option(help="only this technique; may be repeated")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any key of the study")] = None,
) -> None:
    """Fetch every model and data set of a study that is on the hub into its cache.

    What is there already is left as it is. What is gated or missing is said, with what to do, and the others are
    fetched. Exit codes: 0 all of it is there, 2 it is not, 130 interrupted.
    """
    resolved = resolve(
        name, models=model or (), datasets=dataset or (), techniques=technique or (), settings=set_ or ()
    )

    try:
        _fetch(resolved)
    except KeyboardInterrupt as interrupt:
        echo("Interrupted. The same command goes on; what was fetched is kept.")
        raise typer.Exit(INTERRUPTED) from interrupt


def _fetch(resolved: ResolvedStudy) -> None:
    from raypeft.hub.fetching import fetch as fetch_all
    from raypeft.hub.study import needs, refusal, survey
    from raypeft.output.text import size

    asked = needs(resolved)
    found = survey(asked)
    for need in found.cached:
        echo(f"{need}: in the cache")
    for need, want in found.wanted.items():
        echo(f"{need}: to be fetched, {size(want.bytes)}")
    for need, error in found.failed.items():
        echo(f"{need}: {error.what}")
    _, failed = fetch_all(found.wanted, terminal())
    if failed := found.failed | failed:
        what = f"{len(failed)} of its {len(asked)} models and data sets on the hub could not be fetched"
        raise refusal(f"{resolved.name}: {what}", failed, "The same command goes on; what was fetched is kept.")
    echo(f"Every model and data set of {resolved.name} is here.")
