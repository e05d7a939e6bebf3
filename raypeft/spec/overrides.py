"""Changes to a study's content before it is validated: keys that are set, names that are kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from raypeft.errors import UserError
from raypeft.spec.checking import named
from raypeft.spec.documents import parse_yaml
from raypeft.spec.values import quoted, shortened


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


def keep(content: dict[str, Any], key: str, wanted: Sequence[str]) -> None:
    """Reduce a list, or lists of groups, of a valid study to names that it has; groups left empty go on both sides."""
    if not wanted:
        return
    present = content[key]
    if isinstance(present, list):
        content[key] = [name for name in present if name in wanted]
        return
    kept = {group: [name for name in names if name in wanted] for group, names in present.items()}
    for side in ("models", "techniques"):
        if isinstance(groups := kept if side == key else content[side], dict):
            content[side] = {group: names for group, names in groups.items() if kept[group]}
