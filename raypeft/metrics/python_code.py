"""Python source as the parts of CodeBLEU read it: tokens, code without comments, data flow.

The grammar is that of the ``codebleu`` package, and so are the rules of data flow. Nothing here fails on text that is
not Python.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version

import tree_sitter_python
from codebleu import dataflow_match
from tree_sitter import Language, Node, Parser

from raypeft.errors import UserError
from raypeft.metrics.data_flow import DataFlow

_TOKEN = re.compile(
    r"""
      (?:[bB][rR]?|[rR][bBfF]?|[fF][rR]?|[uU])?           # string prefix
      (?:'{3}(?:\\.|[^\\])*?'{3} | "{3}(?:\\.|[^\\])*?"{3} | '(?:\\.|[^'\\\n])*' | "(?:\\.|[^"\\\n])*")
    | \#[^\n]*
    | 0[xX][\da-fA-F_]+ | 0[bB][01_]+ | 0[oO][0-7_]+
    | (?:\d(?:_?\d)*(?:\.(?:\d(?:_?\d)*)?)?|\.\d(?:_?\d)*)(?:[eE][+-]?\d(?:_?\d)*)?[jJ]?
    | \w+
    | \*\*= | //= | >>= | <<= | \.\.\. | != | -> | := | \*\* | // | >> | << | [-+*/%&|^@=<>]=
    | (?!\\\r?\n)\S                                       # anything else, a line continuation excepted
    """,
    re.VERBOSE | re.DOTALL,
)


def tokenize(code: str) -> list[str]:
    """Split code into Python's tokens, without those that only stand for layout.

    Equal to the standard library's ``tokenize`` on code that it accepts (a comment is one token, as is a string, on
    Python 3.12 and later an f-string too). A single set of rules for all text means that a prediction that breaks off
    in the middle has the same tokens up to there as its reference.
    """
    return _TOKEN.findall(code)


@cache
def language() -> Language:
    """Return the Python grammar.

    Raises:
        UserError: when the installed ``tree-sitter-python`` does not fit ``codebleu``.
    """
    try:
        return Language(tree_sitter_python.language())
    except TypeError as error:
        raise UserError(
            f"codebleu {version('codebleu')} cannot use tree-sitter-python {version('tree-sitter-python')} "
            f"with tree-sitter {version('tree-sitter')}",
            hint='pip install "tree-sitter-python==0.21.0" "tree-sitter==0.22.3"',
        ) from error


def ascii_only(code: str) -> str:
    """Write every other character as letters and digits.

    The grammar counts columns in bytes and ``codebleu`` reads them as characters: behind a non-ASCII character its
    data flow would see shifted names.
    """
    return re.sub(r"[^\x00-\x7f]", lambda match: f"u{ord(match[0]):04x}", code)


def without_comments(code: str) -> str:
    """Remove comments and statements that are only a string (docstrings), given ASCII code.

    ``codebleu``'s own remover takes any string for a docstring that starts a line, also in ``', '.join(names)``. A
    string that is all there is in its block stays, and so does a text that is nothing but comments: otherwise an empty
    prediction would equal it.
    """
    source = code.encode()
    drop: list[tuple[int, int]] = []
    nodes = [_parser().parse(source).root_node]
    while nodes:
        node = nodes.pop()
        nodes.extend(node.children)
        if node.type == "comment":
            drop.append((node.start_byte, node.end_byte))
        elif node.type in ("module", "block"):
            statements = [child for child in node.named_children if child.type != "comment"]
            strings = [statement for statement in statements if _is_string(statement)]
            if len(strings) < len(statements):
                drop.extend(map(_extent, strings))
    for start, end in sorted(drop, reverse=True):
        source = source[:start] + source[end:]
    return source.decode() if source.strip() else code


def subtrees(code: str) -> list[str]:
    """Return the syntax tree and each of its subtrees that has children, names and literals left out."""
    found = []
    nodes = [_parser().parse(code.encode(errors="replace")).root_node]
    while nodes:
        node = nodes.pop()
        found.append(str(node))
        nodes.extend(child for child in node.children if child.children)
    return found


def data_flow(code: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return the edges of the data-flow graph with its variables numbered: (variable, relation, sources).

    ``codebleu`` lists the sources of a merged edge in the order of a set of strings, which changes with Python's hash
    seed and with it the numbering and the score. Here they are in the order of the source text. Only a list without
    repetitions can come from a set; any other is already in order. Nor does the time double with every further
    level of nested loops as it does there, see ``DataFlow``.
    """
    flow = dataflow_match.get_data_flow(code, [_parser(), DataFlow()])
    names = {index: name for name, index, *_ in flow}
    ordered = [
        (name, index, relation, _by_position(sources, indices, names), indices)
        for name, index, relation, sources, indices in flow
    ]
    return [(name, relation, tuple(s)) for name, relation, s in dataflow_match.normalize_dataflow(ordered)]


def _by_position(sources: list[str], indices: Sequence[int], names: dict[int, str]) -> list[str]:
    if len(set(sources)) < len(sources):
        return sources
    first = {names.get(index): index for index in sorted(indices, reverse=True)}
    return sorted(sources, key=lambda source: (first.get(source, float("inf")), source))


@cache
def _parser() -> Parser:
    parser = Parser()
    parser.language = language()
    return parser


def _is_string(statement: Node) -> bool:
    if statement.type != "expression_statement" or statement.child_count != 1:
        return False
    string = statement.children[0]
    return string.type == "string" and all(child.type != "interpolation" for child in string.children)


def _extent(statement: Node) -> tuple[int, int]:
    following = statement.next_sibling
    last = following if following is not None and following.type == ";" else statement
    return statement.start_byte, last.end_byte
