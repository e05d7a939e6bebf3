import ast
import io
import json
import tokenize

import pytest

from raypeft.metrics import python_code


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
