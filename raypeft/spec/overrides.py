"""What the command line changes of a study: settings, parts of it, the tiny scale."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raypeft.errors import UserError
from raypeft.spec.catalogue import Architecture, Catalogue
from raypeft.spec.checking import named
from raypeft.spec.loading import PACKAGE, Strict, parse_yaml, read_yaml, validate
from raypeft.spec.values import Name, quoted, shortened


def set_key(content: dict[str, Any], setting: str) -> None:
    """Set a `dotted.key=value` whose value is YAML, making the sections on its way.

    Raises:
        UserError: no such pair, no YAML, or a key below something that is no section.
    """
    key, separator, text = setting.partition("=")
    if not separator or not all(key.split(".")):
        hint = "For example --set training.epochs=3"
        raise UserError(f"{quoted(setting)} is not key=value", where="--set", hint=hint)
    *parents, last = key.split(".")
    for parent in parents:
        if content.get(parent) is None:
            content[parent] = {}
        content = content[parent]
        if not isinstance(content, dict):
            raise UserError(f"{quoted(parent)} holds no keys", where=f"--set {shortened(key)}")
    try:
        content[last] = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{quoted(text)} is not a YAML value: {error}", where=f"--set {shortened(key)}") from error


def check_kept(content: Mapping[str, Any], key: str, wanted: Sequence[str]) -> None:
    """Check that a study, which may be invalid, has all names that are wanted of it.

    Raises:
        UserError: it has not.
    """
    known = list(dict.fromkeys(name for _, name in named(content, key)))
    if unknown := [name for name in wanted if name not in known]:
        verb = "is" if len(unknown) == 1 else "are"
        raise UserError(
            f"{shortened(', '.join(map(quoted, dict.fromkeys(unknown))), 300)} {verb} not in the study",
            where=f"--{key.removesuffix('s')}",
            hint=f"It has: {shortened(', '.join(known), 500)}",
        )


def change_names(content: dict[str, Any], key: str, change: Callable[[list[str]], list[str]]) -> None:
    """Change a list of names, or those of groups."""
    present = content[key]
    grouped = isinstance(present, dict)
    content[key] = {group: change(names) for group, names in present.items()} if grouped else change(present)


def keep(content: dict[str, Any], key: str, wanted: Sequence[str]) -> None:
    """Reduce a list, or lists of groups, of a valid study to names that it has; groups left empty go on both sides."""
    if not wanted:
        return
    change_names(content, key, lambda names: [name for name in names if name in wanted])
    kept = content[key]
    for side in ("models", "techniques") if isinstance(kept, dict) else ():
        if isinstance(groups := content[side], dict):
            content[side] = {group: names for group, names in groups.items() if kept[group]}


class Scale(Strict):
    """One `scale_<name>.yaml` of the catalogue.

    Attributes:
        models: the model that stands in for those of an architecture.
        datasets: the data set that stands in for a named one.
        other_datasets: the one for all others.
        settings: parts of a study whose keys replace its own.
    """

    models: dict[Architecture, Name]
    datasets: dict[Name, Name]
    other_datasets: Name
    settings: dict[str, dict[str, Any]]

    def model(self, name: str, known: Catalogue) -> str:
        """What stands in for a model; one that does not say its architecture counts as a decoder."""
        return self.models[known.models[name].architecture or "decoder"]

    def dataset(self, name: str) -> str:
        """What stands in for a data set: itself, where it already does for another."""
        if name in self.datasets.values():
            return name
        return self.datasets.get(name, self.other_datasets)


def load_scale(name: str) -> Scale:
    """Load a scale by name.

    Raises:
        UserError: there is none of that name.
    """
    path = PACKAGE / "catalogue" / f"scale_{name}.yaml"
    if not os.path.isfile(path):
        known = sorted(file.stem.removeprefix("scale_") for file in path.parent.glob("scale_*.yaml"))
        raise UserError(f"there is no scale {quoted(name)}", where="--scale", hint=f"Known: {', '.join(known)}")
    return validate(Scale, read_yaml(path), str(path))


def shrink(content: dict[str, Any], settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Put a scale's settings over a study's, key by key; what the study switches off stays off."""
    for key, value in settings.items():
        own = content.get(key, {})
        if isinstance(own, dict):
            content[key] = {**own, **value}


def stand_in(content: dict[str, Any], scale: Scale, known: Catalogue) -> None:
    """Replace the names of a valid study's models and data sets, each once in its list.

    What in-context learning leaves out for a model's sake does not hold for what stands in for it.
    """
    change_names(content, "models", lambda names: list(dict.fromkeys(scale.model(name, known) for name in names)))
    change_names(content, "datasets", lambda names: list(dict.fromkeys(map(scale.dataset, names))))
    if content.get("icl"):
        content["icl"] = {**content["icl"], "skip": []}
