"""Where each variable of Python code gets its value from, by the rules of the ``codebleu`` package.

A variable is known by its name and by the number of its token. The rules are CodeXGLUE's, with what they leave out: an
assignment to several names takes the parts of its right side one by one, ``else`` of a loop is not looked at, and both
ways around an ``if`` are possible.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from codebleu.parser import tree_to_variable_index
from tree_sitter import Node

Tokens = Mapping[Any, tuple[int, str]]
"""Number and text of each token, by its first and last point."""
States = dict[str, list[int]]
"""Of each variable, the tokens that it may have its value from."""
Edge = tuple[str, int, str, list[str], list[int]]
"""A variable and its token, the relation, and names and tokens of its sources."""
Flow = tuple[list[Edge], States]


class DataFlow:
    """The walk over a syntax tree that ``codebleu``'s ``get_data_flow`` asks for, which remembers the loops.

    ``codebleu``'s own, ``DFG_python``, goes through the body of a loop twice, and so through the innermost of n loops
    2 ** n times, although all but the first times start from the same variables in the same states and end with the
    same edges. The edges are the same.
    """

    def __init__(self) -> None:
        self._loops: dict[tuple[object, ...], Flow] = {}

    def __call__(self, node: Node, tokens: Tokens, states: States) -> Flow:
        """Edges under a node, and the states after it, given those before it."""
        if node.type != "comment" and (not node.children or node.type == "string"):
            return _leaf(node, tokens, states)
        match node.type:
            case "default_parameter":
                return self._default(node, tokens, states)
            case "assignment" | "augmented_assignment":
                if node.child_by_field_name("right") is None:
                    return [], states.copy()
                return self._assignment(*_sides(node), tokens, states)
            case "for_in_clause":
                return self._assignment([_field(node, "left")], [node.children[-1]], tokens, states)
            case "if_statement":
                return self._branches(node, tokens, states)
            case "for_statement" | "while_statement":
                return self._loop(node, tokens, states)
        # False comes before True: what a comprehension goes through, then what it makes of that.
        return self._sequence(sorted(node.children, key=lambda child: child.type != "for_in_clause"), tokens, states)

    def _sequence(self, nodes: Iterable[Node], tokens: Tokens, states: States) -> Flow:
        edges: list[Edge] = []
        states = states.copy()
        for node in nodes:
            found, states = self(node, tokens, states)
            edges += found
        return edges, states

    def _default(self, node: Node, tokens: Tokens, states: States) -> Flow:
        value = node.child_by_field_name("value")
        edges, states = self._sequence([value] if value else [], tokens, states)
        sources = [([name], [index]) for index, name in _variables(value, tokens)] if value else [([], [])]
        for index, name in _variables(_field(node, "name"), tokens):
            edges += [(name, index, "comesFrom", *source) for source in sources]
            states[name] = [index]
        return edges, states

    def _assignment(self, targets: Sequence[Node], values: Sequence[Node], tokens: Tokens, states: States) -> Flow:
        edges, states = self._sequence(values, tokens, states)
        for target, value in zip(targets, values, strict=True):
            sources = _variables(value, tokens)
            for index, name in _variables(target, tokens):
                edges.append(
                    (name, index, "computedFrom", [source for _, source in sources], [place for place, _ in sources])
                )
                states[name] = [index]
        return edges, states

    def _branches(self, node: Node, tokens: Tokens, states: States) -> Flow:
        edges: list[Edge] = []
        after, others = states, []
        for child in node.children:
            alternative = child.type in ("elif_clause", "else_clause")
            found, reached = self(child, tokens, states if alternative else after)
            edges += found
            if alternative:
                others.append(reached)
            else:
                after = reached
        ways = [*others, after]
        if not any("else" in child.type for child in node.children):
            ways.append(states)
        merged: dict[str, set[int]] = {}
        for way in ways:
            for name, indices in way.items():
                merged.setdefault(name, set()).update(indices)
        return edges, {name: sorted(indices) for name, indices in merged.items()}

    def _loop(self, node: Node, tokens: Tokens, states: States) -> Flow:
        start = tuple((name, *indices) for name, indices in sorted(states.items()))
        key = (node.type, node.start_byte, node.end_byte, start)
        if key not in self._loops:
            edges: list[Edge] = []
            for _ in range(2):
                found, states = self._once(node, tokens, states)
                edges += found
            self._loops[key] = _merged(edges), states
        edges, after = self._loops[key]
        return edges, after.copy()

    def _once(self, node: Node, tokens: Tokens, states: States) -> Flow:
        if node.type == "while_statement":
            return self._sequence(node.children, tokens, states)
        edges, states = self._assignment(*_sides(node), tokens, states)
        if node.children[-1].type == "block":
            found, states = self(node.children[-1], tokens, states)
            edges += found
        return edges, states


def _leaf(node: Node, tokens: Tokens, states: States) -> Flow:
    index, text = tokens[node.start_point, node.end_point]
    if node.type == text:  # a keyword or a sign
        return [], states.copy()
    if text in states:
        return [(text, index, "comesFrom", [text], states[text].copy())], states.copy()
    known: States = {text: [index]} if node.type == "identifier" else {}
    return [(text, index, "comesFrom", [], [])], states | known


def _sides(node: Node) -> tuple[list[Node], list[Node]]:
    """Left and right of an assignment or a loop: part by part where there are as many on either side."""
    left, right = _field(node, "left"), _field(node, "right")
    targets, values = ([child for child in side.children if child.type != ","] for side in (left, right))
    return (targets, values) if targets and len(targets) == len(values) else ([left], [right])


def _field(node: Node, name: str) -> Node:
    child = node.child_by_field_name(name)
    assert child is not None  # of code that breaks off; codebleu then takes the text for one without data flow
    return child


def _variables(node: Node, tokens: Tokens) -> list[tuple[int, str]]:
    """Number and text of the tokens under a node that are names or literals."""
    return [tokens[place] for place in tree_to_variable_index(node, tokens)]


def _merged(edges: Iterable[Edge]) -> list[Edge]:
    """One edge a variable and relation, with the sources of all."""
    merged: dict[tuple[str, int, str], tuple[list[str], list[int]]] = {}
    for name, index, relation, sources, places in edges:
        key = (name, index, relation)
        if key in merged:
            sources = list({*merged[key][0], *sources})
            places = sorted({*merged[key][1], *places})
        merged[key] = (sources, places)
    return [(*key, *found) for key, found in merged.items()]
