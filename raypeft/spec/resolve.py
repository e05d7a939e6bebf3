"""From a study's name and overrides to a resolved study that needs no further file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from raypeft.errors import UserError
from raypeft.spec.catalogue import Catalogue, DatasetEntry, ModelEntry, shipped_catalogue
from raypeft.spec.direct import direct_models, is_direct
from raypeft.spec.documents import dump_yaml, parse_yaml, read_yaml
from raypeft.spec.loading import Strict, find, listed, problems, validate
from raypeft.spec.scale import load_scale, shrink, stand_in
from raypeft.spec.study import Study
from raypeft.spec.technique import Technique, Value, load_technique


class ResolvedStudy(Strict):
    """A study with every model, data set and technique it names; frozen in the run folder as `study.yaml`.

    Among its data sets are also those that a joint one joins.

    Attributes:
        points: hyperparameters of the first trial of each technique's cells.
    """

    name: str
    study: Study
    models: dict[str, ModelEntry]
    datasets: dict[str, DatasetEntry]
    techniques: dict[str, Technique]
    points: dict[str, dict[str, Value]]

    def dump(self) -> str:
        """As YAML, readable by `load`."""
        return dump_yaml(self.model_dump(mode="json"))

    def pinned(self, revisions: Mapping[str, Mapping[str, str]]) -> Self:
        """The study with hub entries at exact commits.

        Args:
            revisions: commit of each entry on the hub, by `models` and `datasets` and by name.
        """
        entries = {
            kind: {
                name: entry.model_copy(update={"revision": commits[name]}) if name in commits else entry
                for name, entry in getattr(self, kind).items()
            }
            for kind, commits in revisions.items()
        }
        return self.model_copy(update=entries)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a frozen `study.yaml`.

        Raises:
            UserError: missing or invalid.
        """
        return validate(cls, read_yaml(path), str(path))


def resolve(
    name: str,
    *,
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    techniques: Sequence[str] = (),
    trials: int | None = None,
    settings: Sequence[str] = (),
    scale: str | None = None,
) -> ResolvedStudy:
    """Load a study by name or path, apply overrides, and look up all it names.

    Args:
        name: a path, or a name in `./studies` or the package.
        models, datasets, techniques: keep only these.
        trials: replaces `search.trials`.
        settings: `dotted.key=value` pairs, the value as YAML.
        scale: name of a scale, which replaces what is kept by something smaller; settings win over its own.

    Raises:
        UserError: everything that is wrong with the study, its techniques and its names.
    """
    path = find(name, "studies")
    content = read_yaml(path)
    smaller = load_scale(scale) if scale else None
    if smaller:
        shrink(content, smaller.settings)
    if trials is not None:
        settings = [*settings, f"search.trials={trials}"]
    for setting in settings:
        _set(content, setting)
    where = str(path) + (f", at scale {scale}" if scale else "") + "".join(f", with {setting}" for setting in settings)
    if isinstance(own := content.get("catalogue"), dict):
        content["catalogue"] = shipped_catalogue().completed(own)
    short = _name_direct_models(content, where)
    _check(content, where)
    _keep(content, "models", [short.get(model, model) for model in models])
    _keep(content, "datasets", datasets)
    _keep(content, "techniques", techniques)
    if smaller:
        stand_in(content, smaller, shipped_catalogue().extended(Study.model_validate(content).catalogue))
    study = validate(Study, content, where)
    if trials is not None and study.trials != trials:
        raise UserError(
            f"asks for {trials} trials a cell, but the study's mode is paper: the paper's point alone",
            where="--samples",
            hint="Search with --set mode=search",
        )
    catalogue = shipped_catalogue().extended(study.catalogue)
    members = [member for name in study.datasets for member in catalogue.datasets[name].join or ()]
    found = {Path(technique).stem: load_technique(technique) for _, technique in study.pairs()}
    return ResolvedStudy(
        name=f"{path.stem}-{scale}" if scale else path.stem,
        study=study,
        models={model: catalogue.models[model] for model, _ in study.pairs()},
        datasets={dataset: catalogue.datasets[dataset] for dataset in [*study.datasets, *members]},
        techniques=found,
        points={stem: technique.point(study.protocol.point_of(stem)) for stem, technique in found.items()},
    )


def _name_direct_models(content: dict[str, Any], where: str) -> dict[str, str]:
    """Replace hub ids and folders among the models by short names with entries in the study's own catalogue.

    Returns:
        The short name of each.
    """
    sources = [name for _, name in _named(content, "models") if is_direct(name)]
    own = content.get("catalogue") or {}
    if not sources or not isinstance(own, dict):
        return {}
    try:
        known = shipped_catalogue().extended(Catalogue.model_validate(own))
    except ValidationError:
        return {}
    names, entries, wrong = direct_models(sources, known)
    if wrong:
        raise listed([f"models: {line}" for line in wrong], where, "For example catalogue: {models: {mine: {…}}}")
    models = content["models"]
    lists = models if isinstance(models, dict) else {"": models}
    renamed = {
        group: [names.get(name, name) if isinstance(name, str) else name for name in members]
        if isinstance(members, list)
        else members
        for group, members in lists.items()
    }
    content["models"] = renamed if isinstance(models, dict) else renamed[""]
    added = {name: entry.model_dump(exclude_unset=True) for name, entry in entries.items()}
    content["catalogue"] = {**own, "models": {**(own.get("models") or {}), **added}}
    return names


def _check(content: Mapping[str, Any], where: str) -> None:
    """Raise whatever is wrong with a study and the names in it, also where other parts of it are invalid."""
    wrong: list[str] = []
    try:
        valid = Study.model_validate(content)
        wrong += _unknown_skips(valid) + _wrong_joins(valid)
    except ValidationError as error:
        wrong += problems(error, content)
    shipped = shipped_catalogue()
    for kind, known in (("models", [*shipped.models]), ("datasets", [*shipped.datasets])):
        own = content.get("catalogue")
        own = own.get(kind) if isinstance(own, dict) else None
        known += [entry for entry in own if entry not in known] if isinstance(own, dict) else []
        further = "; a hub id (organisation/name) or a folder will do too" if kind == "models" else ""
        wrong += [
            f"{key}: unknown '{name}'; known: {', '.join(known)}{further}"
            for key, name in _named(content, kind)
            if name not in known and not (kind == "models" and is_direct(name))
        ]
    stems: dict[str, str] = {}
    for key, name in _named(content, "techniques"):
        if stems.setdefault(Path(name).stem, name) != name:
            wrong.append(f"{key}: '{name}' and '{stems[Path(name).stem]}' have the same name; rename one file")
        try:
            load_technique(name)
        except UserError as error:
            wrong.append(f"{key}: " + str(error).replace("\n", "\n    "))
    protocol = content.get("protocol")
    point = protocol.get("point") if isinstance(protocol, dict) else None
    wrong += [
        f"protocol.point.{name}: is none of the study's techniques: {', '.join(stems)}"
        for name in (point if isinstance(point, dict) else ())
        if name not in stems
    ]
    if wrong:
        raise listed(list(dict.fromkeys(wrong)), where)


def _unknown_skips(study: Study) -> list[str]:
    """Names that `icl.skip` has and the study has not."""
    known = {"models": {model for model, _ in study.pairs()}, "datasets": set(study.datasets)}
    return [
        f"icl.skip.{index}.{kind}: '{name}' is not in the study"
        for index, skip in enumerate(study.icl.skip if study.icl else ())
        for kind, names in known.items()
        for name in getattr(skip, kind) or ()
        if name not in names
    ]


def _wrong_joins(study: Study) -> list[str]:
    """Joint data sets whose parts are unknown, or joint themselves."""
    known = shipped_catalogue().extended(study.catalogue).datasets
    return [
        f"datasets: '{name}' joins '{member}', which is {'joint itself' if member in known else 'unknown'}"
        for name in study.datasets
        for member in (known[name].join if name in known else None) or ()
        if member not in known or known[member].join
    ]


def _named(content: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """(key, name) of every name in a list, or in the lists of groups, of a study that may be invalid."""
    present = content.get(key)
    lists = present if isinstance(present, dict) else {None: present}
    for group, names in lists.items():
        for name in names if isinstance(names, list) else ():
            if isinstance(name, str):
                yield key if group is None else f"{key}.{group}", name


def _set(content: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    if not separator or not all(key.split(".")):
        raise UserError(f"'{setting}' is not key=value", where="--set", hint="For example --set training.epochs=3")
    *parents, last = key.split(".")
    for parent in parents:
        if content.get(parent) is None:
            content[parent] = {}
        content = content[parent]
        if not isinstance(content, dict):
            raise UserError(f"'{parent}' holds no keys", where=f"--set {key}")
    try:
        content[last] = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"'{text}' is not a YAML value: {error}", where=f"--set {key}") from error


def _keep(content: dict[str, Any], key: str, wanted: Sequence[str]) -> None:
    """Reduce a list, or the lists of groups, to the wanted names; groups left empty go, on both sides."""
    if not wanted:
        return
    known = list(dict.fromkeys(name for _, name in _named(content, key)))
    if unknown := [name for name in wanted if name not in known]:
        raise UserError(
            f"'{unknown[0]}' is not in the study",
            where=f"--{key.removesuffix('s')}",
            hint=f"It has: {', '.join(known)}",
        )
    present = content[key]
    if isinstance(present, list):
        content[key] = [name for name in present if name in wanted]
        return
    kept = {group: [name for name in names if name in wanted] for group, names in present.items()}
    for side in ("models", "techniques"):
        if isinstance(groups := kept if side == key else content[side], dict):
            content[side] = {group: names for group, names in groups.items() if kept[group]}
