import ast
import json
import subprocess
import sys

import pytest

from raypeft.metrics import ast_match_rank, exact_match, match_rank, normalise


def test_normalise_strips_and_flattens_without_collapsing_spaces():
    assert normalise("\n  def f(x):\n    return\tx \n") == "def f(x):     return x"


def test_match_rank_is_the_first_match_and_counts_from_one():
    assert match_rank("a b", ["a", " a\nb\n", "a b"]) == 2
    assert match_rank("a b", ["a  b", "ab", "A b"]) is None
    assert match_rank("a b", []) is None


def test_exact_match_is_the_percentage_of_ranks_within_k():
    assert exact_match([1, 2, None, 6]) == {1: 25.0, 2: 50.0, 5: 50.0, 10: 75.0}
    assert exact_match([1, None, 3], ks=[3]) == {3: pytest.approx(200 / 3)}
    assert exact_match([]) == {1: 0.0, 2: 0.0, 5: 0.0, 10: 0.0}


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        ("f(a, b)", "f( a,b )  # call"),
        ("x = 'a'", 'x = u"a"'),
        ("((a and (not b)))", "a and not b"),
        ("if a:\n    b", "if a: b"),
        ("print 'a'", "\tprint 'a'\n"),  # Python 2: equal as text only
        ("x = '\\d'", 'x = "\\d"'),  # would raise a SyntaxWarning
    ],
)
def test_same_program_in_another_layout_matches(reference, candidate):
    assert ast_match_rank(reference, ["other()", candidate]) == 2


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        ("f(a, b)", "f(b, a)"),
        ("x = 1", "x = 1.0"),
        ("def f():\n    'doc'\n    return 1", "def f():\n    return 1"),
        ("print 'a'", 'print "a"'),
        ("f(a", "f(a "[:2] + " a"),
        ("x = 1", "\x00"),
        ("x = 1", "(" * 5000),
        ("x = 1", "-" * 100_000 + "1"),
    ],
)
def test_other_or_unparsable_text_does_not(reference, candidate):
    assert ast_match_rank(reference, [candidate]) is None


@pytest.mark.parametrize(
    ("file", "at_1", "at_10"), [("output", 24, 54), ("output_1shot", 7, 29), ("output_3shot", 15, 39)]
)
def test_hits_on_the_replication_packages_outputs(shared_data, file, at_1, at_10):
    rows = [json.loads(line) for line in (shared_data / "outputs" / f"{file}.jsonl").open(encoding="utf-8")]

    def hits(same, k):
        return sum(any(same(row["references"], text) for text in row["predictions"][:k]) for row in rows)

    def bared(text):
        return "".join(text.split())

    def same_without_white_space(reference, text):
        return bared(reference) == bared(text)

    def same_unparsed(reference, text):
        try:
            return ast.unparse(ast.parse(reference.strip())) == ast.unparse(ast.parse(text.strip()))
        except SyntaxError:
            return reference.strip() == text.strip()

    assert len(rows) == 142
    assert (hits(same_without_white_space, 1), hits(same_without_white_space, 10)) == (at_1, at_10)
    bare = exact_match(
        [match_rank(bared(row["references"]), [bared(text) for text in row["predictions"]]) for row in rows]
    )
    assert (bare[1], bare[10]) == (100 * at_1 / 142, 100 * at_10 / 142)
    # the package's normalisation, which keeps spaces, gives the same on these outputs
    text = exact_match([match_rank(row["references"], row["predictions"]) for row in rows])
    assert (text[1], text[10]) == (100 * at_1 / 142, 100 * at_10 / 142)
    tree = exact_match([ast_match_rank(row["references"], row["predictions"]) for row in rows])
    assert tree == {k: 100 * hits(same_unparsed, k) / 142 for k in (1, 2, 5, 10)}


def test_exact_match_loads_no_other_metric():
    code = """
import sys, raypeft.metrics.exact_match
print(sorted({"torch", "ray", "numpy", "codebleu", "tree_sitter", "sacrebleu"} & set(sys.modules)))
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
