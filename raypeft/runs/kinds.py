"""Kinds of records: how the content of a file or line becomes a record, or is found to be damaged."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from raypeft.errors import UserError
from raypeft.runs import records
from raypeft.runs.records import FORMAT

_HALF = re.compile("[\ud800-\udfff]")
_ESCAPED_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


class Damaged(ValueError):
    """Content that is not the record it should be: not JSON, of another shape, out of bounds, or somebody else's."""


@dataclass(frozen=True)
class Kind:
    """A kind of record.

    Attributes:
        name: what one is, in words.
        adapter: checks one.
        sure: keys that every record with a version has; kinds without any carry none.
        blank: whether those of them that an older record lacks are none in it.
    """

    name: str
    adapter: TypeAdapter[Any]
    sure: frozenset[str] = frozenset()
    blank: bool = True

    def parse(self, content: bytes) -> dict[str, Any]:
        """The record that a file or line holds.

        Raises:
            Damaged: it holds none.
            UserError: it is of a later version of raypeft.
        """
        try:
            row: dict[str, Any] = self.adapter.validate_json(content)
        except ValidationError as error:
            mended = _with_whole_characters(content)
            if mended is None:
                raise Damaged(_first(error, self.name)) from None
            return self.parse(mended)
        if not self.sure <= row.keys():
            missing = sorted(self.sure - row.keys())
            if "format" in row:
                raise Damaged(f"{', '.join(missing)}: missing")
            if self.blank:
                row.update(dict.fromkeys(missing))
        return row

    @property
    def version(self) -> dict[str, int]:
        """The version of its format, as a record is written now."""
        return {"format": FORMAT} if self.sure else {}


def _kind(name: str, model: Any, sure: Sequence[str] = (), *, blank: bool = True) -> Kind:
    return Kind(name, TypeAdapter(model), frozenset(sure), blank)


_END = ("state", "reason", "hyperparameters", "reports", "best_report", "best_loss", "best_em@10", "time")
REPORT = _kind("report", records.Report, ["em@10", "em@10_computed", "time"])
TRIAL = _kind("end of a trial", records.TrialEnd, _END)
SELECTION = _kind("selection", records.Selection, ["cell", "trials"])
_TESTED = ("seconds", "predictions_sha256")
TEST = _kind("test result", records.TestResult, ["cell", "dataset", "trial", *_TESTED], blank=False)
ICL = _kind("in-context-learning result", records.IclResult, _TESTED, blank=False)
PREDICTION = _kind("prediction", records.Prediction)
FAILURE = _kind("failure", records.Failure)
EVENT = _kind("event", records.Event)
MANIFEST = _kind(
    "manifest",
    records.Manifest,
    ["study", "versions", "gpus", "datasets", "models", "revisions"],
    blank=False,
)
DASHBOARD = _kind("dashboard", records.Dashboard)
TAKEN = _kind("cell taken over", records.Taken, ["origin"])


def whole_characters(text: str) -> str:
    """A text in which half characters, which have no bytes and no place in JSON, are replaced."""
    return _HALF.sub("\ufffd", text)


def _with_whole_characters(content: bytes) -> bytes | None:
    """JSON without the half characters that it has; none where it has none, or is not JSON."""
    if _ESCAPED_HALF.search(content) is None:
        return None
    try:
        text = json.dumps(json.loads(content), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    mended = whole_characters(text)
    return mended.encode() if mended != text else None


def _first(error: ValidationError, name: str) -> str:
    """The first thing that is wrong, in a few words."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"]))[:80]
    if place == "format" and fault["type"] == "less_than_equal":
        raise UserError(f"a {name} was written by a later version of raypeft", hint="Update raypeft.") from None
    return f"{place}: {fault['msg']}" if place else fault["msg"]
