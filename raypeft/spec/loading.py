"""Finding specifications by name and validating them, every problem of a file in one message."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from raypeft.errors import UserError
from raypeft.spec.values import quoted, shortened

PACKAGE = Path(__file__).resolve().parents[1]
_VARIABLE = re.compile(r"\$\{(\w+)\}")
LONGEST_LIST, LONGEST_LINE = 1_500, 700  # characters of a message
_NOUNS = {"studies": "study", "search_spaces": "technique"}

Spec = TypeVar("Spec", bound=BaseModel)


class Strict(BaseModel):
    """Base of every specification: immutable, unknown keys, infinity and NaN refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Inconsistent(ValueError):
    """Keys that are valid each by itself and do not go together.

    Args:
        wrong: (key, message) pairs, the key relative to the mapping that was validated.
    """

    def __init__(self, wrong: Sequence[tuple[str, str]]) -> None:
        self.wrong = wrong
        super().__init__("; ".join(f"{key}: {message}" for key, message in wrong))


def validate(kind: type[Spec], content: Any, where: str) -> Spec:
    """Validate `content` as `kind`; `where` names the file in messages.

    Raises:
        UserError: lists every problem with its key.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise listed(problems(error, content), where) from error


def listed(lines: Sequence[str], where: str, hint: str | None = None) -> UserError:
    """The error that shows problems one a line; of very many the first, and how many more there are."""
    shown: list[str] = []
    for line in lines:
        cut = line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"
        if shown and sum(map(len, shown)) + len(cut) > LONGEST_LIST:
            shown.append(f"and {len(lines) - len(shown)} more")
            break
        shown.append(cut)
    return UserError("".join(f"\n  {line}" for line in shown), where=where, hint=hint)


def together(errors: Sequence[UserError], where: str) -> UserError:
    """One error of several: the only one as it is, of more each with its place, the same hint once."""
    if len(errors) == 1:
        return errors[0]
    lines: list[str] = []
    for error in errors:
        own = str(error).splitlines()
        further = [line if line.startswith("  ") else f"  {line}" for line in own[1:]]
        lines += [own[0], *(line for line in further if line not in lines)]
    return listed(lines, where)


def problems(error: ValidationError, content: Any) -> list[str]:
    """One line a problem: the dotted key and what is wrong with it.

    Whether keys go together is known only where each of them is valid by itself.
    """
    found: dict[str, list[str]] = {}
    for item in error.errors(include_url=False, include_input=False):
        keys = _keys(item["loc"], content, named=item["type"] in ("missing", "extra_forbidden"))
        cause = item.get("ctx", {}).get("error")
        pairs = cause.wrong if isinstance(cause, Inconsistent) else [("", _message(item["type"], item["msg"]))]
        for key, message in pairs:
            place = shortened(".".join([*keys, key] if key else keys), 200) or "(whole file)"
            messages = found.setdefault(place, [])
            if message not in messages:
                messages.append(message)
    return [f"{key}: {'; or: '.join(messages)}" for key, messages in found.items()]


def _message(kind: str, text: str) -> str:
    if kind == "extra_forbidden":
        return "unknown key"
    if kind == "missing":
        return "is missing"
    if kind == "model_type":
        return "should hold keys"
    if kind == "int_parsing_size":
        return "should be a smaller number"
    return text.removeprefix("Value error, ").replace("Input should", "should")


def _keys(location: Sequence[str | int], content: Any, *, named: bool) -> list[str]:
    """The keys of a pydantic location, without its names for the alternatives of a union.

    `named` says that the last part is a key even if the content does not have it.
    """
    keys = []
    for index, part in enumerate(location):
        present = isinstance(content, dict) and part in content
        present = present or (isinstance(content, list) and isinstance(part, int) and part < len(content))
        if present:
            content = content[part]
        if present or (named and index == len(location) - 1):
            keys.append(str(part))
    return keys


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
        if os.path.isfile(name):
            return Path(name)
        raise UserError("no such file", where=shortened(name))
    for folder in (Path(kind), shipped(kind)):
        path = folder / f"{name}.yaml"
        if os.path.isfile(path):
            return path
    known = shortened(", ".join(map(shortened, names(kind))), 800)
    raise UserError(
        f"there is no {_NOUNS[kind]} {quoted(name)}", hint=f"Known: {known}. A path to a .yaml file works too."
    )


def names(kind: str) -> list[str]:
    """Names that `find` knows for a kind, those of the working directory included, sorted."""
    folders = (Path(kind), shipped(kind))
    files = ((folder, path) for folder in folders for path in folder.rglob("*.yaml"))
    return sorted({path.relative_to(folder).with_suffix("").as_posix() for folder, path in files})


def variables(text: str) -> list[str]:
    """Names of the environment variables that `expand` fills in."""
    return _VARIABLE.findall(text)


def expand(text: str, where: str) -> str:
    """Replace `${NAME}` by environment variables.

    Raises:
        UserError: a variable is not set, or empty.
    """
    missing = [name for name in variables(text) if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"environment variable {shortened(', '.join(dict.fromkeys(missing)))} is not set",
            where=where,
            hint="\n".join(f"export {shortened(name)}=…" for name in [*dict.fromkeys(missing)][:10]),
        )
    return _VARIABLE.sub(lambda match: os.environ[match.group(1)], text)
