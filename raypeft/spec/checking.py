"""What may be wrong with a study and the names in it, told all at once."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from raypeft.errors import UserError
from raypeft.spec.catalogue import EMBEDDED, Catalogue, ModelEntry, shipped_catalogue
from raypeft.spec.loading import expand, listed, problems
from raypeft.spec.study import Study
from raypeft.spec.technique import load_technique
from raypeft.spec.values import LONGEST_NAME, is_name, quoted, shortened

_HUB_ID = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")


def is_direct(name: str) -> bool:
    """Whether a name is a hub id or a folder: names of the catalogue have no slash."""
    return "/" in name or name.startswith(("~", "${"))


def direct_models(sources: Iterable[str], known: Catalogue) -> tuple[dict[str, str], dict[str, ModelEntry], list[str]]:
    """Give models named by their source a short name, which cells, trials and folders are called by.

    The short name is the last part of the hub id or path. A hub id that the catalogue has is the catalogue's model.

    Args:
        sources: hub ids and folders.
        known: the catalogue.

    Returns:
        Short name of each source; entries of the models that the catalogue does not have; sources whose short name is
        taken or too long, and those that no model can come from, each with a message.
    """
    hubs = {entry.hub: name for name, entry in known.models.items() if entry.hub}
    names: dict[str, str] = {}
    entries: dict[str, ModelEntry] = {}
    wrong = []
    for source in dict.fromkeys(sources):
        if source in hubs:
            names[source] = hubs[source]
            continue
        try:
            name = _short(source)
            entry = ModelEntry.model_validate({"title": shortened(source, 400), **_location(source)})
        except ValidationError:
            wrong.append(f"{quoted(source)} is neither a hub id nor a folder")
            continue
        except UserError as error:
            wrong.append(f"{quoted(source)}: {error.what}; {error.hint}".replace("\n", "; "))
            continue
        names[source] = name
        if name in known.models or name in entries:
            wrong.append(
                f"{quoted(source)} would be called '{name}', as another model is: give it an entry of its own name"
            )
        if len(name) > LONGEST_NAME:
            wrong.append(
                f"{quoted(source)} would be called {quoted(name)}, which is longer than {LONGEST_NAME} characters: "
                "give it an entry of its own name"
            )
        entries[name] = entry
    return names, entries, wrong


def _short(source: str) -> str:
    last = Path(expand(source, "models")).name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._") or "model"


def _location(source: str) -> Mapping[str, str]:
    is_folder = source.startswith((EMBEDDED, ".", "~", "/", "${")) or os.path.isdir(source)
    return {"hub": source} if _HUB_ID.fullmatch(source) and not is_folder else {"folder": source}


MOST_TECHNIQUES = 100
"""Of a study that are read to tell what is wrong with them."""


def check_study(content: Mapping[str, Any], where: str, known_wrong: Sequence[str] = ()) -> None:
    """Check a study and the names in it, each also where other parts of it are invalid.

    Args:
        content: of the study.
        where: what names it in messages.
        known_wrong: further problems to tell, one line each.

    Raises:
        UserError: everything that is wrong.
    """
    wrong: list[str] = []
    try:
        valid = Study.model_validate(content)
        wrong += _unknown_skips(valid) + _wrong_joins(valid)
    except ValidationError as error:
        wrong += problems(error, content)
    shipped = shipped_catalogue()
    for kind, known in (("models", [*shipped.models]), ("datasets", [*shipped.datasets])):
        known += [entry for entry in _within(content, "catalogue", kind) if entry not in known]
        further = "; a hub id (organisation/name) or a folder will do too" if kind == "models" else ""
        wrong += [
            f"{key}: unknown {quoted(name)}; known: {shortened(', '.join(map(str, known)), 500)}{further}"
            for key, name in named(content, kind)
            if name not in known and not (kind == "models" and is_direct(name))
        ]
    wrong += known_wrong
    stems: dict[str, str] = {}
    for key, name in [*dict.fromkeys(named(content, "techniques"))][:MOST_TECHNIQUES]:
        if stems.setdefault(stem := Path(name).stem, name) != name:
            wrong.append(f"{key}: {quoted(name)} and {quoted(stems[stem])} have the same name; rename one file")
        if not is_name(stem):
            wrong.append(
                f"{key}: {quoted(name)} would be called {quoted(stem)}; a name has letters, digits, '.', '_' and '-' "
                f"alone, begins with a letter or digit and has at most {LONGEST_NAME} characters"
            )
            continue
        try:
            load_technique(name)
        except UserError as error:
            wrong.append(f"{key}: " + str(error).replace("\n", "\n    "))
    wrong += [
        f"protocol.point.{shortened(name)}: is none of the study's techniques: {shortened(', '.join(stems), 500)}"
        for name in _within(content, "protocol", "point")
        if name not in stems
    ]
    if wrong:
        raise listed(list(dict.fromkeys(wrong)), where)


def _within(content: Any, *keys: str) -> dict[Any, Any]:
    """A mapping inside a study that may be invalid; nothing where there is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def _unknown_skips(study: Study) -> list[str]:
    """Names that `icl.skip` has and the study has not."""
    known = {"models": {model for model, _ in study.pairs()}, "datasets": set(study.datasets)}
    return [
        f"icl.skip.{index}.{kind}: {quoted(name)} is not in the study"
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


def named(content: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """(key, name) of every name in a list, or in the lists of groups, of a study that may be invalid."""
    present = content.get(key)
    lists = present if isinstance(present, dict) else {None: present}
    for group, names in lists.items():
        for name in names if isinstance(names, list) else ():
            if isinstance(name, str):
                yield key if group is None else f"{key}.{group}", name
