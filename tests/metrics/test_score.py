import json

import pytest

from raypeft.metrics import score
from tests.metrics.measured import chrf


def test_every_metric_of_two_items():
    metrics = score(
        ["x = a + b", "sorted(a, reverse=True)"],
        [["x = a + b", "y"], ["sorted(a)", "sorted( a, reverse = True )"]],
    )
    assert list(metrics) == (["items", "em@1", "em@2", "em_ast@1", "em_ast@2", "codebleu", "codebleu_flat", "chrf"])
    assert (metrics["items"], metrics["em@1"], metrics["em@2"]) == (2, 50, 50)
    assert (metrics["em_ast@1"], metrics["em_ast@2"]) == (50, 100)
    assert set(metrics["codebleu"]) == {"score", "ngram", "weighted_ngram", "syntax", "dataflow"}
    assert metrics["codebleu"]["dataflow"] == 100
    assert 0 < metrics["codebleu_flat"]["score"] < 100
    assert json.loads(json.dumps(metrics)) == metrics


def test_ten_candidates_and_none():
    metrics = score(["a", "b"], [[*"cdefghijkl"], []])
    assert [key for key in metrics if "@" in key] == (
        ["em@1", "em@2", "em@5", "em@10", "em_ast@1", "em_ast@2", "em_ast@5", "em_ast@10"]
    )
    assert metrics["em@10"] == 0
    assert score(["a", "b"], [[*"cdefghijka"], []])["em@10"] == 50


def test_no_items():
    metrics = score([], [])
    assert (metrics["items"], metrics["codebleu"]["score"], metrics["chrf"]) == (0, 0, 0)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        score(["a", "b"], [["a"]])


def test_chrf_by_hand():
    # "abd" against "abc": 2 of 3 characters, 1 of 2 bigrams, 0 of 1 trigrams; precision and recall are equal.
    assert chrf(["abc"], ["abd"]) == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)
    assert chrf(["abc"], ["abc"]) == pytest.approx(100)
    assert chrf(["abc"], [""]) == 0
    with pytest.raises(ValueError, match="1 references, but 0 predictions"):
        chrf(["a"], [])
