"""Models that a study names by hub id or folder, without an entry in a catalogue."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from raypeft.errors import UserError
from raypeft.spec.catalogue import EMBEDDED, Catalogue, ModelEntry
from raypeft.spec.loading import expand
from raypeft.spec.values import LONGEST_NAME, quoted, shortened

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
