"""What a record is, and what is none."""

import json
from typing import Any

import pytest

from raypeft.errors import UserError
from raypeft.runs.reading import ICL, MANIFEST, PREDICTION, REPORT, SELECTION, TEST, TRIAL, Damaged, Kind

NAME, CELL = "m·t·d·000", "m/d/t"
REPORTED = {"trial": NAME, "cell": CELL, "number": 0, "report": 1, "epoch": 0.2, "step": 16, "validation_loss": 1.5,
            "em@10": 2.5, "em@10_computed": True, "time": 1.8e9}  # fmt: skip
ENDED = {"trial": NAME, "cell": CELL, "number": 0, "state": "stopped", "reason": None, "hyperparameters": {"r": 4},
         "reports": 2, "best_report": 1, "best_loss": 1.5, "best_em@10": 2.5, "time": 1.8e9}  # fmt: skip
METRICS = {"items": 2, "em@1": 50.0, "codebleu": {"score": 40.0, "dataflow": None}, "chrf": 12.5}
TESTED = {
    "cell": CELL,
    "dataset": "d",
    "trial": NAME,
    "metrics": METRICS,
    "seconds": 1.0,
    "predictions_sha256": "0" * 64,
}
NOTHING = {"cell": CELL, "trial": None, "reason": "2 oom", "trials": {"oom": 2}}
ANSWERED = {"model": "m", "dataset": "d", "examples": 1, "seed": 42, "metrics": METRICS, "seconds": 1.0,
            "predictions_sha256": "0" * 64}  # fmt: skip
PREDICTED = {"id": "a", "intent": "i", "reference": "x", "candidates": ["x", "y"], "scores": [-0.5, -1.0]}
GOOD = [(REPORT, REPORTED), (TRIAL, ENDED), (TEST, TESTED), (SELECTION, NOTHING), (ICL, ANSWERED)]


def parse(kind: Kind, row: Any) -> dict[str, Any]:
    return kind.parse(json.dumps(row).encode())


@pytest.mark.parametrize(("kind", "row"), [*GOOD, (PREDICTION, PREDICTED)])
def test_a_record_is_given_as_it_is(kind: Kind, row: dict[str, Any]) -> None:
    assert list(parse(kind, row).items()) == list(row.items())
    assert parse(kind, {**row, "later": [1]}) == {**row, "later": [1]}


@pytest.mark.parametrize(("kind", "row"), GOOD)
def test_what_a_record_with_a_version_lacks_an_older_one_may_lack(kind: Kind, row: dict[str, Any]) -> None:
    for key in kind.sure:
        less = {name: value for name, value in row.items() if name != key}
        with pytest.raises(Damaged, match=key):
            parse(kind, {"format": 1, **less})
        if key not in ("cell", "trial", "state", "metrics"):
            assert parse(kind, less).get(key) is None


@pytest.mark.parametrize(("kind", "row"), [*GOOD, (MANIFEST, {})])
def test_a_later_version_is_refused(kind: Kind, row: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="was written by a later version of raypeft"):
        parse(kind, {"format": 2, **row})


@pytest.mark.parametrize("content", [b"", b"null", b"{}", b"[]", b"17", b'"x"', b"{", b"\xff", b"[" * 5000, b"\x00"])
@pytest.mark.parametrize("kind", [REPORT, TRIAL, SELECTION, TEST, ICL, PREDICTION])
def test_json_of_another_kind_is_no_record(kind: Kind, content: bytes) -> None:
    with pytest.raises(Damaged):
        kind.parse(content)


@pytest.mark.parametrize(
    ("kind", "row", "change"),
    [
        (REPORT, REPORTED, {"report": -1}),
        (REPORT, REPORTED, {"report": True}),
        (REPORT, REPORTED, {"report": 2**64}),
        (REPORT, REPORTED, {"report": 1.5}),
        (REPORT, REPORTED, {"validation_loss": "1.5"}),
        (REPORT, REPORTED, {"validation_loss": float("nan")}),
        (REPORT, REPORTED, {"validation_loss": float("inf")}),
        (REPORT, REPORTED, {"em@10": 101.0}),
        (REPORT, REPORTED, {"epoch": None}),
        (REPORT, REPORTED, {"time": 1e30}),
        (TRIAL, ENDED, {"state": "running"}),
        (TRIAL, ENDED, {"state": None}),
        (TRIAL, ENDED, {"hyperparameters": []}),
        (TRIAL, ENDED, {"hyperparameters": {"r": [1]}}),
        (TEST, TESTED, {"metrics": {"em@1": 50.0}}),
        (TEST, TESTED, {"metrics": {"items": 2, "em@1": 150.0}}),
        (TEST, TESTED, {"metrics": {"items": 2, "codebleu": {}}}),
        (TEST, TESTED, {"metrics": []}),
        (TEST, TESTED, {"seconds": -1.0}),
        (SELECTION, NOTHING, {"trials": {"gone": 2}}),
        (SELECTION, {"format": 1, **NOTHING}, {"trial": NAME}),
        (SELECTION, NOTHING, {"files": {"../../x": [1, "0" * 64]}}),
        (PREDICTION, PREDICTED, {"candidates": "x"}),
        (PREDICTION, PREDICTED, {"reference": None}),
        (MANIFEST, {}, {"datasets": {"d": {"train": {"items": "5"}}}}),
        (MANIFEST, {}, {"datasets": {"d": {"train": {"items": 5, "sha256": "0", "repeated_ids": 1e30}}}}),
        (MANIFEST, {}, {"precision": {"m": 32}}),
        (MANIFEST, {}, {"revisions": {"models": {"m": 1}}}),
    ],
)
def test_what_is_out_of_bounds_is_no_record(kind: Kind, row: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(Damaged):
        parse(kind, {**row, **change})


def test_half_characters_are_read_as_what_stands_for_them() -> None:
    found = PREDICTION.parse(rb'{"id": "a", "reference": "\ud800 \ud83d\ude00", "candidates": ["\udfff"]}')
    assert found == {"id": "a", "reference": "\ufffd \U0001f600", "candidates": ["\ufffd"]}
