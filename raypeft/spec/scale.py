"""Scales: a study's models, data sets and sizes replaced by smaller ones, so that it runs on any machine."""

import os
from collections.abc import Mapping
from typing import Any

from raypeft.errors import UserError
from raypeft.spec.catalogue import Architecture, Catalogue
from raypeft.spec.documents import read_yaml
from raypeft.spec.loading import PACKAGE, Strict, validate
from raypeft.spec.values import Name, quoted


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
    models = content["models"]
    if isinstance(models, dict):
        content["models"] = {group: _models(names, scale, known) for group, names in models.items()}
    else:
        content["models"] = _models(models, scale, known)
    content["datasets"] = list(dict.fromkeys(map(scale.dataset, content["datasets"])))
    if content.get("icl"):
        content["icl"] = {**content["icl"], "skip": []}


def _models(names: list[str], scale: Scale, known: Catalogue) -> list[str]:
    return list(dict.fromkeys(scale.model(name, known) for name in names))
