"""Finding specifications by name and validating them, every problem of a file in one message."""

import os
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from raypeft.errors import UserError
from raypeft.output.files import open_regular
from raypeft.spec.values import quoted, shortened

LARGEST_FILE = 512 * 2**10  # bytes; PyYAML takes some seconds for as many
DEEPEST, MOST_NODES = 40, 50_000
LONGEST_NUMBER = 400
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """Plain YAML: keys are texts and stand once, `1e-3` is a number, what YAML 1.1 and 1.2 read differently is refused.

    Of PyYAML's own reading are left out: explicit tags, dates, numbers in other bases, and nodes within themselves, too
    deep or, by aliases, too many.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node, counted, with those that an alias stands for."""
        event = self.peek_event()
        if getattr(event, "tag", None) is not None:
            tag = quoted(event.tag.replace(_TAG, "!!"))
            raise self._refusal(f"could not determine a constructor: tags such as {tag} are not read", event)
        self._depth += 1
        before = self._nodes
        if self._depth > DEEPEST:
            raise self._refusal(f"is nested more than {DEEPEST} deep", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise self._refusal(f"'*{event.anchor}' stands within itself", event)
            self._nodes += self._sizes[id(node)]
        self._nodes += 1
        self._sizes[id(node)] = self._nodes - before
        if self._nodes > MOST_NODES:
            raise self._refusal(f"holds more than {MOST_NODES} values", event)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping; PyYAML would let the last of two equal keys win."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
                shown = quoted(key.value) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                raise self._refusal(f"a key must be a text, but is {shown}: quote it", key)
            if key.value in seen:
                raise self._refusal(f"key {quoted(key.value)} stands twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A number of few enough digits."""
        if len(node.value) > LONGEST_NUMBER:
            raise self._refusal(f"a number of {len(node.value)} digits", node)
        return int(node.value) if node.tag == f"{_TAG}int" else self.construct_yaml_float(node)

    def construct_ambiguous(self, node: yaml.ScalarNode) -> Any:
        """Never: it may be meant as a number, in one or another reading, or as a text."""
        raise self._refusal(
            f"{quoted(node.value)} is read in different ways: quote it, or write a decimal number", node
        )

    def construct_text(self, node: yaml.ScalarNode) -> str:
        """A text that can be saved as UTF-8."""
        text = str(self.construct_scalar(node))
        if any(character == "\x85" or "\ud800" <= character <= "\udfff" for character in text):
            raise self._refusal("a text has NEL or half of a surrogate pair, which cannot be saved", node)
        return text

    def _refusal(self, problem: str, at: Any) -> yaml.MarkedYAMLError:
        return yaml.constructor.ConstructorError(None, None, problem, at.start_mark)


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that `_Loader` would take for numbers."""


_UNREAD = (f"{_TAG}timestamp", f"{_TAG}int", f"{_TAG}float", f"{_TAG}value")
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] not in _UNREAD]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_FLOAT = r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?"
# Numbers of YAML 1.1 or 1.2 that the other has as another number or as a text.
_AMBIGUOUS = (
    r"0[0-9_]+|0[bB][01_]+|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+"
    r"|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|[0-9]*_[0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
)
for _side in (_Loader, _Dumper):
    for _kind, _pattern in (
        (f"{_TAG}int", r"[-+]?(?:0|[1-9][0-9]*)$"),
        (f"{_TAG}float", rf"(?:{_FLOAT}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
        ("!ambiguous", rf"[-+]?(?:{_AMBIGUOUS})$"),
    ):
        _side.add_implicit_resolver(_kind, re.compile(_pattern), list("-+.0123456789"))
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_number)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_number)
_Loader.add_constructor(f"{_TAG}str", _Loader.construct_text)
_Loader.add_constructor("!ambiguous", _Loader.construct_ambiguous)


def parse_yaml(text: str) -> Any:
    """Parse one YAML document.

    Raises:
        ValueError: not YAML; the message has line and column.
    """
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{shortened(str(error.problem))}") from error
    except yaml.YAMLError as error:
        raise ValueError(shortened(" ".join(str(error).split()))) from error


def dump_yaml(content: Any) -> str:
    """YAML that `parse_yaml` reads back, keys in their order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises:
        UserError: the file is missing, is not YAML, or holds something other than a mapping.
    """
    try:
        with open_regular(path) as stream:
            found = stream.read(LARGEST_FILE + 1)
        if len(found) > LARGEST_FILE:
            raise UserError(f"is larger than {LARGEST_FILE // 2**10} KiB", where=str(path))
        content = parse_yaml(found.decode("utf-8-sig").replace("\r\n", "\n"))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise UserError(f"is not UTF-8: {error}", where=str(path)) from error
    except ValueError as error:
        raise UserError(f"is not valid YAML: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise UserError("must hold a mapping of keys to values", where=str(path))
    return content


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
