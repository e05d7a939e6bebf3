"""What a record is, and what is none."""

import json
from typing import Any

import pytest

from raypeft.errors import UserError
from raypeft.runs import reading
from raypeft.runs.reading import Damaged
from raypeft.runs.records import IclResult, Manifest, Prediction, Record, Report, Selection, TestResult, TrialEnd

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
GOOD = [(Report, REPORTED), (TrialEnd, ENDED), (TestResult, TESTED), (Selection, NOTHING), (IclResult, ANSWERED)]


def parse(kind: type[Record], row: Any) -> dict[str, Any]:
    return reading.parse(kind, json.dumps(row).encode()).content()


@pytest.mark.parametrize(("kind", "row"), [*GOOD, (Prediction, PREDICTED)])
def test_a_record_is_given_as_it_is(kind: type[Record], row: dict[str, Any]) -> None:
    assert list(parse(kind, row).items()) == list(row.items())
    assert parse(kind, {**row, "later": [1]}) == {**row, "later": [1]}


@pytest.mark.parametrize(("kind", "row"), GOOD)
def test_what_a_record_with_a_version_lacks_an_older_one_may_lack(kind: type[Record], row: dict[str, Any]) -> None:
    for key in map(kind.key, kind.SURE):
        less = {name: value for name, value in row.items() if name != key}
        with pytest.raises(Damaged, match=key):
            parse(kind, {"format": 1, **less})
        if key not in ("cell", "trial", "state", "metrics"):
            assert parse(kind, less).get(key) is None


@pytest.mark.parametrize(("kind", "row"), [*GOOD, (Manifest, {})])
def test_a_later_version_is_refused(kind: type[Record], row: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="was written by a later version of raypeft"):
        parse(kind, {"format": 2, **row})


@pytest.mark.parametrize("content", [b"", b"null", b"{}", b"[]", b"17", b'"x"', b"{", b"\xff", b"[" * 5000, b"\x00"])
@pytest.mark.parametrize("kind", [Report, TrialEnd, Selection, TestResult, IclResult, Prediction])
def test_json_of_another_kind_is_no_record(kind: type[Record], content: bytes) -> None:
    with pytest.raises(Damaged):
        reading.parse(kind, content)


@pytest.mark.parametrize(
    ("kind", "row", "change"),
    [
        (Report, REPORTED, {"report": -1}),
        (Report, REPORTED, {"report": True}),
        (Report, REPORTED, {"report": 2**64}),
        (Report, REPORTED, {"report": 1.5}),
        (Report, REPORTED, {"validation_loss": "1.5"}),
        (Report, REPORTED, {"validation_loss": float("nan")}),
        (Report, REPORTED, {"validation_loss": float("inf")}),
        (Report, REPORTED, {"em@10": 101.0}),
        (Report, REPORTED, {"epoch": None}),
        (Report, REPORTED, {"time": 1e30}),
        (TrialEnd, ENDED, {"state": "running"}),
        (TrialEnd, ENDED, {"state": None}),
        (TrialEnd, ENDED, {"hyperparameters": []}),
        (TrialEnd, ENDED, {"hyperparameters": {"r": [1]}}),
        (TestResult, TESTED, {"metrics": {"em@1": 50.0}}),
        (TestResult, TESTED, {"metrics": {"items": 2, "em@1": 150.0}}),
        (TestResult, TESTED, {"metrics": {"items": 2, "codebleu": {}}}),
        (TestResult, TESTED, {"metrics": []}),
        (TestResult, TESTED, {"seconds": -1.0}),
        (Selection, NOTHING, {"trials": {"gone": 2}}),
        (Selection, {"format": 1, **NOTHING}, {"trial": NAME}),
        (Selection, NOTHING, {"files": {"../../x": [1, "0" * 64]}}),
        (Prediction, PREDICTED, {"candidates": "x"}),
        (Prediction, PREDICTED, {"reference": None}),
        (Manifest, {}, {"datasets": {"d": {"train": {"items": "5"}}}}),
        (Manifest, {}, {"datasets": {"d": {"train": {"items": 5, "sha256": "0", "repeated_ids": 1e30}}}}),
        (Manifest, {}, {"precision": {"m": 32}}),
        (Manifest, {}, {"revisions": {"models": {"m": 1}}}),
    ],
)
def test_what_is_out_of_bounds_is_no_record(kind: type[Record], row: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(Damaged):
        parse(kind, {**row, **change})


def test_half_characters_are_read_as_what_stands_for_them() -> None:
    found = reading.parse(Prediction, rb'{"id": "a", "reference": "\ud800 \ud83d\ude00", "candidates": ["\udfff"]}')
    assert found.content() == {"id": "a", "reference": "\ufffd \U0001f600", "candidates": ["\ufffd"]}
