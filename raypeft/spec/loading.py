"""Reading YAML into validated specifications, every problem of a file in one message."""

import os
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from raypeft.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
_VARIABLE = re.compile(r"\$\{(\w+)\}")

Spec = TypeVar("Spec", bound=BaseModel)


class Strict(BaseModel):
    """Base of every specification: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises:
        UserError: the file is missing, is not YAML, or holds something other than a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except yaml.YAMLError as error:
        raise UserError(f"is not valid YAML: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise UserError("must hold a mapping of keys to values", where=str(path))
    return content


def validate(kind: type[Spec], content: Any, where: str) -> Spec:
    """Validate `content` as `kind`; `where` names the file in messages.

    Raises:
        UserError: lists every problem with its key.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError("\n".join(problems(error)), where=where) from error


def problems(error: ValidationError) -> list[str]:
    """One line a problem: the dotted key and what is wrong with it."""
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "(whole file)"
        message = "unknown key" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        lines.append(f"  {key}: {message}")
    return lines


def shipped(kind: str) -> Path:
    """The folder of shipped files of a kind (`studies`, `search_spaces`): in the wheel, or beside a checkout."""
    installed = PACKAGE / kind
    return installed if installed.is_dir() else PACKAGE.parent / kind


def find(name: str, kind: str) -> Path:
    """Look up a named YAML: as a path, then in `./<kind>`, then among the shipped ones.

    Raises:
        UserError: nothing of that name; the message lists what there is.
    """
    if name.endswith((".yaml", ".yml")):
        if Path(name).is_file():
            return Path(name)
        raise UserError("no such file", where=name)
    for folder in (Path(kind), shipped(kind)):
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
    raise UserError(
        f"there is no {kind.removesuffix('s').replace('_', ' ')} '{name}'",
        hint=f"Known: {', '.join(names(kind))}. A path to a .yaml file works too.",
    )


def names(kind: str) -> list[str]:
    """Names that `find` knows for a kind, those of the working directory included, sorted."""
    folders = (Path(kind), shipped(kind))
    files = ((folder, path) for folder in folders for path in folder.rglob("*.yaml"))
    return sorted({str(path.relative_to(folder).with_suffix("")) for folder, path in files})


def expand(text: str, where: str) -> str:
    """Replace `${NAME}` by environment variables.

    Raises:
        UserError: a variable is not set.
    """
    missing = [name for name in _VARIABLE.findall(text) if name not in os.environ]
    if missing:
        raise UserError(
            f"environment variable {', '.join(missing)} is not set", where=where, hint=f"export {missing[0]}=…"
        )
    return _VARIABLE.sub(lambda match: os.environ[match.group(1)], text)
