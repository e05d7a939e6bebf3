"""raypeft list: what a study can name."""

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.text import Text

from raypeft.errors import UserError
from raypeft.output.console import lines_table, print_lines
from raypeft.spec.catalogue import shipped_catalogue
from raypeft.spec.documents import read_yaml
from raypeft.spec.loading import find, names
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
