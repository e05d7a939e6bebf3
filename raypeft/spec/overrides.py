"""Changes to a study's content before it is validated: keys that are set, names that are kept."""

from collections.abc import Sequence
from typing import Any

from raypeft.errors import UserError
from raypeft.spec.checking import named
from raypeft.spec.documents import parse_yaml


def set_key(content: dict[str, Any], setting: str) -> None:
    """Set a `dotted.key=value` whose value is YAML, making the sections on its way.

    Raises:
        UserError: no such pair, no YAML, or a key below something that is no section.
    """
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


def keep(content: dict[str, Any], key: str, wanted: Sequence[str]) -> None:
    """Reduce a list, or the lists of groups, to the wanted names; groups left empty go, on both sides.

    Raises:
        UserError: a name is not in the study.
    """
    if not wanted:
        return
    known = list(dict.fromkeys(name for _, name in named(content, key)))
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
