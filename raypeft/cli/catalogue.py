"""raypeft list and fetch: what there is, and having it here."""

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.text import Text

from raypeft.cli.arguments import DatasetsOption, ModelsOption, SettingsOption, StudyArgument, TechniquesOption
from raypeft.errors import UserError
from raypeft.execution.interruption import CODE as INTERRUPTED
from raypeft.output.console import echo, lines_table, print_lines, terminal
from raypeft.spec.catalogue import shipped_catalogue
from raypeft.spec.loading import find, names, read_yaml
from raypeft.spec.resolve import ResolvedStudy, resolve
from raypeft.spec.technique import IN_THE_PAPER, load_technique
from raypeft.spec.values import quoted, shortened


def list_(
    kind: Annotated[str, typer.Argument(help="models, datasets, techniques or studies")],
) -> None:
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
            point = _listed(technique.paper)
            point += f" (package: {_listed(technique.package)})" if technique.package else ""
            point += "" if name in IN_THE_PAPER else " (not in the paper)"
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


def fetch(
    name: StudyArgument,
    models: ModelsOption = None,
    datasets: DatasetsOption = None,
    techniques: TechniquesOption = None,
    settings: SettingsOption = None,
) -> None:
    """Fetch every model and data set of a study that is on the hub into its cache.

    What is there already is left as it is. What is gated or missing is said, with what to do, and the others are
    fetched. Exit codes: 0 all of it is there, 2 it is not, 130 interrupted.
    """
    resolved = resolve(
        name, models=models or (), datasets=datasets or (), techniques=techniques or (), settings=settings or ()
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
