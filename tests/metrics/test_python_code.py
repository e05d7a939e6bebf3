import ast
import io
import json
import tokenize

import pytest
from codebleu import dataflow_match

from raypeft.metrics import python_code
from raypeft.metrics.data_flow import DataFlow


def test_tokens_of_code_that_breaks_off():
    assert python_code.tokenize("x = f(a, 'b c') ** 2.5e-3 # why") == (
        ["x", "=", "f", "(", "a", ",", "'b c'", ")", "**", "2.5e-3", "# why"]
    )
    assert python_code.tokenize("print('it is\n  x->y!= $ \\\n...") == (
        ["print", "(", "'", "it", "is", "x", "->", "y", "!=", "$", "..."]
    )


@pytest.mark.parametrize("dataset", ["conala", "codealpacapy"])
def test_tokens_are_the_standard_librarys(shared_data, dataset):
    layout = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    compared = 0
    for line in (shared_data / dataset / "test.jsonl").open(encoding="utf-8"):
        code = json.loads(line)["cmd"]
        tokens = python_code.tokenize(code)
        f_string = any(token[0] in "fF" and token[-1] in "'\"" for token in tokens)  # several tokens from 3.12 on
        if f_string or not _parses(code):
            continue
        expected = [t.string for t in tokenize.generate_tokens(io.StringIO(code).readline) if t.type not in layout]
        assert tokens == expected
        compared += 1
    assert compared > 500


def _parses(code):
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("', '.join(a)  # comment", "', '.join(a)"),
        ("x = 1\n'-'.join(a)", "x = 1\n'-'.join(a)"),
        ("f(\n'a')", "f(\n'a')"),
        ("'''doc'''\nx = 1", "x = 1"),
        ("'doc'; x = 1", "x = 1"),
        ("def f():\n    'doc'\n    return 1", "def f():\n    return 1"),
        ("def f():\n    'doc'", "def f():\n    'doc'"),
        ("x = '# no comment'", "x = '# no comment'"),
        ("x\nf'{y}'", "x\nf'{y}'"),
        ("# only a comment", "# only a comment"),
        ("", ""),
    ],
)
def test_comments_and_docstrings_go(code, expected):
    lines = [line.rstrip() for line in python_code.without_comments(code).strip().splitlines()]
    assert "\n".join(line for line in lines if line) == expected


def nested_loops(depth):
    """Loops of both kinds in each other, their variables used on the way out."""
    lines = [
        "    " * level + (f"for v{level} in f(v{level - 2}):" if level % 2 else f"while v{level - 1} < x:")
        for level in range(depth)
    ]
    lines.append("    " * depth + "x = x + v1")
    for level in range(depth - 1, 0, -1):
        indent = "    " * level
        lines += [
            f"{indent}if v1:",
            f"{indent}    x = v1 + x",
            f"{indent}else:",
            f"{indent}    v1 = x",
            f"{indent}y = x",
        ]
    return "\n".join(lines)


def upstream_flow(code):
    return dataflow_match.get_data_flow(code, [python_code._parser(), dataflow_match.DFG_python])


@pytest.mark.parametrize("depth", [1, 3, 6, 8])
def test_loops_that_are_gone_through_once_have_the_same_edges(depth):
    code = nested_loops(depth)
    found = dataflow_match.get_data_flow(code, [python_code._parser(), DataFlow()])
    assert found == upstream_flow(code)
    assert len(found) >= 5 * (depth - 1)


def test_deeply_nested_loops_come_to_an_end():
    # going through the body twice at each level, as codebleu does, takes 2 ** 24 times
    assert len(python_code.data_flow(nested_loops(24))) > 5 * 23


@pytest.mark.parametrize("dataset", ["conala", "codealpacapy"])
def test_edges_of_real_code_are_the_packages(shared_data, dataset):
    for line in (shared_data / dataset / "test.jsonl").open(encoding="utf-8"):
        code = json.loads(line)["cmd"]
        found = dataflow_match.get_data_flow(code, [python_code._parser(), DataFlow()])
        assert found == upstream_flow(code)
