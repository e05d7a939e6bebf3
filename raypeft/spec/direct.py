"""Models that a study names by hub id or folder, without an entry in a catalogue."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from raypeft.spec.catalogue import EMBEDDED, Catalogue, ModelEntry
from raypeft.spec.loading import expand

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


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
        taken, each with a message.

    Raises:
        UserError: a folder names an environment variable that is not set.
    """
    hubs = {entry.hub: name for name, entry in known.models.items() if entry.hub}
    names: dict[str, str] = {}
    entries: dict[str, ModelEntry] = {}
    wrong = []
    for source in dict.fromkeys(sources):
        if source in hubs:
            names[source] = hubs[source]
            continue
        name = _short(source)
        names[source] = name
        if name in known.models or name in entries:
            wrong.append(f"'{source}' would be called '{name}', as another model is: give it an entry of its own name")
        entries[name] = ModelEntry.model_validate({"title": source, **_location(source)})
    return names, entries, wrong


def _short(source: str) -> str:
    last = Path(expand(source, "models")).name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._") or "model"


def _location(source: str) -> Mapping[str, str]:
    is_folder = source.startswith((EMBEDDED, ".", "~", "/", "${")) or Path(source).is_dir()
    return {"hub": source} if _HUB_ID.fullmatch(source) and not is_folder else {"folder": source}
