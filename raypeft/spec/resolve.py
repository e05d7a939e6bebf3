"""From a study's name and overrides to a resolved study that needs no further file."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator

from raypeft.errors import UserError
from raypeft.spec.catalogue import Catalogue, DatasetEntry, ModelEntry, shipped_catalogue
from raypeft.spec.checking import check_study, direct_models, is_direct, named
from raypeft.spec.loading import Inconsistent, Strict, dump_yaml, find, listed, read_yaml, together, validate, variables
from raypeft.spec.overrides import change_names, check_kept, keep, load_scale, set_key, shrink, stand_in
from raypeft.spec.study import Study
from raypeft.spec.technique import IN_THE_PAPER, Technique, load_technique, shipped_technique
from raypeft.spec.values import FolderName, Identifier, Name, Value, is_folder_name, quoted, shortened

PAPERS_POINT = "the paper's point"
PACKAGES_POINT = "the replication package's point"
FIRST_POINT = "the technique's first point"
MOST_SHOWN = 8  # settings in a message


class ResolvedStudy(Strict):
    """A study with every model, data set and technique it names; frozen in the run folder as `study.yaml`.

    Among its data sets are also those that a joint one joins.

    Attributes:
        points: hyperparameters of the first trial of each technique's cells.
    """

    name: FolderName
    study: Study
    models: dict[Name, ModelEntry]
    datasets: dict[Name, DatasetEntry]
    techniques: dict[Name, Technique]
    points: dict[Name, dict[Identifier, Value]]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        models, techniques = zip(*self.study.pairs(), strict=True)
        stems = [Path(technique).stem for technique in techniques]
        members = [name for entry in self.datasets.values() for name in entry.join or ()]
        needed = (("models", models), ("techniques", stems), ("points", stems), ("datasets", self.study.datasets))
        wrong = [
            (f"{section}.{shortened(name)}", "is missing")
            for section, names in [*needed, ("datasets", members)]
            for name in dict.fromkeys(names)
            if name not in getattr(self, section)
        ]
        wrong += [
            (f"points.{name}", "has not the hyperparameters that are searched")
            for name, technique in self.techniques.items()
            if name in self.points and self.points[name].keys() != technique.search.keys()
        ]
        if wrong:
            raise Inconsistent(wrong)
        return self

    def point_name(self, technique: str, hyperparameters: Mapping[str, Value]) -> str | None:
        """What a point of a technique is called, none where the search has found it.

        The paper's and its replication package's are those of the shipped files: a file of the user's own that is
        called as one of them has a first point, but not the paper's.
        """
        own, point = self.techniques[technique], dict(hyperparameters)
        if technique in IN_THE_PAPER:
            papers = shipped_technique(technique)
            if own.is_adapted_as(papers) and point == papers.point("paper"):
                return PAPERS_POINT
            if own.is_adapted_as(papers) and point == papers.point("package"):
                return PACKAGES_POINT
        return FIRST_POINT if point == self.points[technique] else None

    def dump(self) -> str:
        """As YAML, readable by `load`."""
        return dump_yaml(self.model_dump(mode="json"))

    @property
    def variables(self) -> set[str]:
        """Environment variables that its folders name."""
        entries = [*self.models.values(), *self.datasets.values()]
        return {name for entry in entries for name in variables(entry.folder or "")}

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
    where = str(path) + (f", at scale {scale}" if scale else "") + _with(settings)
    wrong: list[UserError] = []

    def attempt(change: Callable[..., None], *arguments: Any) -> None:
        try:
            change(*arguments)
        except UserError as error:
            wrong.append(error)

    called = f"{path.stem}-{scale}" if scale else path.stem
    if not is_folder_name(called):
        message = f"its name will not do as that of a folder, which its runs lie in: {quoted(called)}"
        wrong.append(UserError(message, where=shortened(str(path)), hint="Rename the file."))
    for setting in settings:
        attempt(set_key, content, setting)
    if isinstance(own := content.get("catalogue"), dict):
        content["catalogue"] = shipped_catalogue().completed(own)
    short, unnamed = _name_direct_models(content)
    attempt(check_study, content, where, unnamed)
    wanted = [short.get(model, model) for model in models]
    for key, names in (("models", wanted), ("datasets", datasets), ("techniques", techniques)):
        attempt(check_kept, content, key, names)
    if wrong:
        raise together(wrong, "several things are wrong")
    keep(content, "models", wanted)
    keep(content, "datasets", datasets)
    keep(content, "techniques", techniques)
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
    resolved = {
        "name": called,
        "study": study,
        "models": {model: catalogue.models[model] for model, _ in study.pairs()},
        "datasets": {dataset: catalogue.datasets[dataset] for dataset in [*study.datasets, *members]},
        "techniques": found,
        "points": {stem: technique.point(study.protocol.point_of(stem)) for stem, technique in found.items()},
    }
    return validate(ResolvedStudy, resolved, where)


def _with(settings: Sequence[str]) -> str:
    """Settings as a message names them: of many the first, of long ones the ends."""
    shown = "".join(f", with {shortened(setting, 60)}" for setting in settings[:MOST_SHOWN])
    further = len(settings) - MOST_SHOWN
    return f"{shown} and {further} more" if further > 0 else shown


def _name_direct_models(content: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Replace hub ids and folders among the models by short names with entries in the study's own catalogue.

    Returns:
        The short name of each, and what is wrong with them, one line each; nothing is replaced then.
    """
    sources = [name for _, name in named(content, "models") if is_direct(name)]
    own = content.get("catalogue") or {}
    if not sources or not isinstance(own, dict):
        return {}, []
    try:
        known = shipped_catalogue().extended(Catalogue.model_validate(own))
    except ValidationError:
        return {}, []
    names, entries, wrong = direct_models(sources, known)
    if wrong:
        return names, [f"models: {line}" for line in wrong]

    def renamed(members: list[str]) -> list[str]:
        if not isinstance(members, list):  # of a study that may be invalid
            return members
        return [names.get(name, name) if isinstance(name, str) else name for name in members]

    change_names(content, "models", renamed)
    added = {name: entry.model_dump(exclude_unset=True) for name, entry in entries.items()}
    content["catalogue"] = {**own, "models": {**(own.get("models") or {}), **added}}
    return names, []


def missing_folders(resolved: ResolvedStudy, where: str) -> UserError | None:
    """One error with every folder of models and data sets that is not there, or names a variable that is not set.

    Args:
        resolved: the study.
        where: its file.
    """
    errors: list[UserError] = []
    for kind, entries in (("models", resolved.models), ("datasets", resolved.datasets)):
        for name, entry in entries.items():
            try:
                entry.path(f"catalogue.{kind}.{name}.folder")
            except UserError as error:
                errors.append(error)
    if not errors:
        return None
    hints = dict.fromkeys(line for error in errors for line in (error.hint or "").splitlines())
    return listed([f"{error.where}: {error.what}" for error in errors], where, "\n".join([*hints][:10]))


FREE = ("cpus_per_trial", "concurrent", "keep_checkpoints")
"""Resources that no result depends on; the others decide on precision, and on which trials run out of memory."""


def differences(old: ResolvedStudy, new: ResolvedStudy) -> list[str]:
    """Each key whose value differs, with both values, but those that a run adopts."""
    return _changes(_with_adopted(old, new), new)


def adopted(old: ResolvedStudy, new: ResolvedStudy) -> list[str]:
    """Each key that differs in a way that a run adopts: more trials a cell, and resources, with both values."""
    return _changes(old, _with_adopted(old, new))


def _with_adopted(old: ResolvedStudy, new: ResolvedStudy) -> ResolvedStudy:
    """The old version with what a run adopts of the new one."""
    trials = max(old.study.search.trials, new.study.search.trials)
    resources = {key: getattr(new.study.resources, key) for key in FREE}
    study = old.study.model_copy(
        update={
            "search": old.study.search.model_copy(update={"trials": trials}),
            "resources": old.study.resources.model_copy(update=resources),
        }
    )
    return old.model_copy(update={"study": study})


def _changes(old: ResolvedStudy, new: ResolvedStudy) -> list[str]:
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    return [
        f"{key.removeprefix('study.')}: was {before.get(key, 'absent')}, is {after.get(key, 'absent')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, "absent") != after.get(key, "absent")
    ]


def _flat(content: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(content, dict):
        return {prefix: content}
    return {
        key: value
        for name, child in content.items()
        for key, value in _flat(child, f"{prefix}.{name}" if prefix else str(name)).items()
    }
