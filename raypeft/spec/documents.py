"""YAML files in and out."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from raypeft.errors import UserError
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
        with path.open("rb") as stream:
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
