"""From a study's name and overrides to a resolved study that needs no further file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from raypeft.errors import UserError
from raypeft.spec.catalogue import DatasetEntry, ModelEntry, shipped_catalogue
from raypeft.spec.loading import Strict, find, read_yaml, validate
from raypeft.spec.study import Study
from raypeft.spec.technique import Technique, load_technique


class ResolvedStudy(Strict):
    """A study with every model, data set and technique it names; frozen in the run folder as `study.yaml`."""

    name: str
    study: Study
    models: dict[str, ModelEntry]
    datasets: dict[str, DatasetEntry]
    techniques: dict[str, Technique]

    def dump(self) -> str:
        """As YAML, readable by `load`."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)

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
) -> ResolvedStudy:
    """Load a study by name or path, apply overrides, and look up all it names.

    Args:
        name: a path, or a name in `./studies` or the package.
        models, datasets, techniques: keep only these.
        trials: replaces `search.trials`.
        settings: `dotted.key=value` pairs, the value as YAML.

    Raises:
        UserError: everything that is wrong with the study, its techniques and its names.
    """
    path = find(name, "studies")
    content = read_yaml(path)
    for setting in settings:
        _set(content, setting)
    if trials is not None:
        _set(content, f"search.trials={trials}")
    where = str(path) + (" with --set" if settings else "")
    _keep(content, "models", models)
    _keep(content, "datasets", datasets)
    _keep(content, "techniques", techniques)
    study = validate(Study, content, where)

    wrong: list[str] = []
    catalogue = shipped_catalogue().extended(study.catalogue)
    wanted = list(dict.fromkeys(model for model, _ in study.pairs()))
    for kind, names, known in (("models", wanted, catalogue.models), ("datasets", study.datasets, catalogue.datasets)):
        wrong += [f"  {kind}: unknown '{name}'; known: {', '.join(known)}" for name in names if name not in known]
    loaded: dict[str, Technique] = {}
    for technique in dict.fromkeys(technique for _, technique in study.pairs()):
        try:
            loaded[Path(technique).stem] = load_technique(technique)
        except UserError as error:
            wrong.append(f"  techniques: {error}")
    if wrong:
        raise UserError("\n" + "\n".join(wrong), where=where)
    resolved = ResolvedStudy(
        name=path.stem,
        study=study,
        models={name: catalogue.models[name] for name in wanted},
        datasets={name: catalogue.datasets[name] for name in study.datasets},
        techniques=loaded,
    )
    _check_targets(resolved, where)
    return resolved


def _check_targets(resolved: ResolvedStudy, where: str) -> None:
    wrong = []
    for model, technique in resolved.study.pairs():
        entry, arguments = resolved.models[model], resolved.techniques[Path(technique).stem].arguments
        for key in ("target_modules", "feedforward_modules"):
            lists = arguments.get(key, [])
            if isinstance(lists, list) and (absent := {"attention", "feedforward"} & set(lists) - set(entry.targets)):
                wrong.append(f"  models.{model}.targets lacks {sorted(absent)}, which technique {technique} needs")
    if wrong:
        raise UserError("\n" + "\n".join(dict.fromkeys(wrong)), where=where)


def _set(content: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    if not separator or not key:
        raise UserError(f"'{setting}' is not key=value", where="--set", hint="For example --set training.epochs=3")
    *parents, last = key.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise UserError(f"'{parent}' in '{key}' is not a mapping", where="--set")
    try:
        content[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"'{text}' is not a YAML value: {error}", where=f"--set {key}") from error


def _keep(content: dict[str, Any], key: str, wanted: Sequence[str]) -> None:
    """Reduce a list, or the lists of groups, to the wanted names; groups left empty go, on both sides."""
    if not wanted:
        return
    present = content.get(key, [])
    lists = present if isinstance(present, dict) else {"": present}
    flat = [name for names in lists.values() if isinstance(names, list) for name in names]
    if unknown := [name for name in wanted if name not in flat]:
        raise UserError(
            f"'{unknown[0]}' is not in the study", where=f"--{key.removesuffix('s')}", hint=f"It has: {', '.join(flat)}"
        )
    kept = {group: [name for name in names if name in wanted] for group, names in lists.items()}
    if not isinstance(present, dict):
        content[key] = kept[""]
        return
    empty = {group for group, names in kept.items() if not names}
    content[key] = {group: names for group, names in kept.items() if names}
    for other in {"models", "techniques"} - {key}:
        if isinstance(content.get(other), dict):
            content[other] = {group: names for group, names in content[other].items() if group not in empty}
