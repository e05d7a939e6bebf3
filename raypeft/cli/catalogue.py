"""raypeft list and fetch: what there is, and having it here."""

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.text import Text

from raypeft.errors import UserError
from raypeft.output.console import echo, lines_table, print_lines, terminal
from raypeft.spec.catalogue import shipped_catalogue
from raypeft.spec.loading import find, names, read_yaml
from raypeft.spec.resolve import ResolvedStudy, resolve
from raypeft.spec.technique import IN_THE_PAPER, load_technique
from raypeft.spec.values import quoted, shortened


def list_(kind: Annotated[str, typer.Argument(help="models, datasets, techniques or studies")]) -> None:
    """List the models, datasets, techniques or studies that are known, one a line."""
    if kind == "models":
        table = lines_table("model", "family", "size", "architecture", "parameters", "from", right=("parameters",))
        for name, model in shipped_catalogue().models.items():
            source = f"{model.hub or model.folder}{' (gated)' if model.gated else ''}"
            table.add_row(name, model.family, model.size, model.architecture, f"{model.parameters:,}", source)
    elif kind == "datasets":
        table = lines_table("dataset", "title", "from")
        for name, dataset in shipped_catalogue().datasets.items():
            table.add_row(name, dataset.title, dataset.hub or dataset.folder or ", ".join(dataset.join or ()))
    elif kind == "techniques":
        table = lines_table("technique", "peft class", "first point", "search")
        for name in names("search_spaces"):
            technique = load_technique(name)
            point = _listed(technique.paper) + (
                f" (package: {_listed(technique.package)})" if technique.package else ""
            )
            if name not in IN_THE_PAPER:
                point += " (not in the paper)"
            space = ", ".join(f"{key} {dimension}" for key, dimension in technique.search.items())
            table.add_row(shortened(name), technique.peft or "none", Text(point), Text(space))
    elif kind == "studies":
        table = lines_table("study", "question")
        for name in names("studies"):
            table.add_row(shortened(name), Text(str(read_yaml(find(name, "studies")).get("question", ""))))
    else:
        raise UserError(f"cannot list {quoted(kind)}", hint="It lists models, datasets, techniques or studies.")
    print_lines(table)


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


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
