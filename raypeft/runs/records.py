"""What is written to a run folder: a model of every line and file, its bounds, and whose it is.

Everything is read and written through `raypeft.runs.reading`. A record carries the version of its format where it is
written; records without one are of the time before there were versions, and may lack what later ones are sure to have.
One of a later version than this package knows is refused.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, with_config
from typing_extensions import TypedDict

FORMAT = 1
"""Version of the format of what is written. Older ones are read."""


class State(StrEnum):
    """How a trial has ended, or why it has not."""

    FINISHED = "finished"
    STOPPED = "stopped"
    NAN = "nan"
    OOM = "oom"
    ERROR = "error"
    SKIPPED = "skipped"
    PAUSED = "paused"
    RUNNING = "running"


USABLE = (State.FINISHED, State.STOPPED)
FAILED = (State.NAN, State.OOM, State.ERROR, State.SKIPPED)
End = Literal["finished", "stopped", "nan", "oom", "error", "skipped"]

_WHOLE = 2**53  # a JSON number up to here is exact everywhere
_MOST_PERCENT = 100.001  # a mean of percentages may be rounded up
_LARGEST_LOSS = 1e39  # twice the largest number of fp32
Format = Annotated[int, Field(ge=1, le=FORMAT)]
Name = Annotated[str, Field(min_length=1, max_length=2000)]
Count = Annotated[int, Field(ge=0, le=_WHOLE)]
Measure = Annotated[float, Field(ge=0, le=1e15)]
Loss = Annotated[float, Field(ge=0, le=_LARGEST_LOSS)]
Percent = Annotated[float, Field(ge=0, le=_MOST_PERCENT)]
Number = Annotated[float, Field(ge=-1e300, le=1e300)]
Time = Annotated[float, Field(ge=0, le=1e11)]
Scalar = bool | Annotated[int, Field(ge=-_WHOLE, le=_WHOLE)] | Number | str | None
Point = dict[Name, Scalar]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[^/\\\x00]+$", max_length=255)]
Sealed = Annotated[list[Count | Sha256], Field(min_length=2, max_length=2)]

_model = with_config(ConfigDict(strict=True, extra="allow", allow_inf_nan=False))


def _record(name: str, fields: Mapping[str, Any]) -> Any:
    """A model of a record whose keys are no identifiers, or shared with others."""
    return _model(TypedDict(name, dict(fields)))  # type: ignore[operator]


_MEMORY: dict[str, Any] = {
    f"{kind}_mib": NotRequired[Measure | None]
    for kind in ("peak_memory", "training_memory", "training_reserved", "decoding_memory", "decoding_reserved")
}
_COSTS: dict[str, Any] = {
    "training_seconds": NotRequired[Measure | None],
    "evaluation_seconds": NotRequired[Measure | None],
    **_MEMORY,
    "micro_batch": NotRequired[Count | None],
    "decode_batch": NotRequired[Count | None],
    "gradient_checkpointing": NotRequired[bool | None],
    "trainable_parameters": NotRequired[Count | None],
    "parameters": NotRequired[Count | None],
}

# A line of `reports.jsonl`; keys in the order they are written in.
Report = _record(
    "Report",
    {
        "format": NotRequired[Format],
        "trial": Name,
        "cell": Name,
        "number": Count,
        "report": Count,
        "epoch": NotRequired[Measure],
        "step": NotRequired[Count],
        "validation_loss": Loss | None,
        "best_loss": NotRequired[Loss | None],
        "em@10": NotRequired[Percent | None],
        "em@10_computed": NotRequired[bool],
        **{key: kind for key, kind in _COSTS.items() if key.endswith("_seconds")},
        "items_per_second": NotRequired[Measure | None],
        **{key: kind for key, kind in _COSTS.items() if not key.endswith("_seconds")},
        "end": NotRequired[State | None],
        "error": NotRequired[str | None],
        "hyperparameters": NotRequired[Point],
        "time": NotRequired[Time],
    },
)

# A line of `trials.jsonl`.
TrialEnd = _record(
    "TrialEnd",
    {
        "format": NotRequired[Format],
        "trial": Name,
        "cell": Name,
        "number": Count,
        "state": End,
        "reason": NotRequired[str | None],
        "hyperparameters": NotRequired[Point],
        "paper_point": NotRequired[bool | None],
        "reports": NotRequired[Count],
        "best_report": NotRequired[Count | None],
        "best_loss": NotRequired[Loss | None],
        "best_em@10": NotRequired[Percent | None],
        **_COSTS,
        "error": NotRequired[str | None],
        "time": NotRequired[Time],
        "transient": NotRequired[bool],
        "notices": NotRequired[list[str]],
    },
)

# `selection.json`; `trial` is none where nothing could be selected, `lost` then says which checkpoints are damaged.
_Selection = _record(
    "Selection",
    {
        "format": NotRequired[Format],
        "cell": NotRequired[Name | None],
        "origin": NotRequired[str],
        "trial": Name | None,
        "reason": NotRequired[str | None],
        "number": NotRequired[Count | None],
        "hyperparameters": NotRequired[Point],
        "paper_point": NotRequired[bool | None],
        "checkpoint_report": NotRequired[Count | None],
        "validation_loss": NotRequired[Loss | None],
        "em@10": NotRequired[Percent | None],
        **_COSTS,
        "select_by": NotRequired[str],
        "considered": NotRequired[Count],
        "trials": NotRequired[dict[End, Count] | None],
        "files": NotRequired[dict[FileName, Sealed] | None],
        "notice": NotRequired[str],
        "lost": NotRequired[list[str]],
    },
)


def _complete(row: dict[str, Any]) -> dict[str, Any]:
    """A selection that says what was selected, or why nothing."""
    wanted = _CHOSEN if row["trial"] is not None else ("reason",)
    missing = [key for key in wanted if key not in row]
    if missing and "format" in row:
        raise ValueError(f"{', '.join(missing)}: missing")
    if missing:  # of the time before there were versions
        blank = {"hyperparameters": {}, "reason": "the reason is not recorded"}
        row.update({key: blank.get(key) for key in missing})
    return row


_CHOSEN: tuple[str, ...] = ("number", "hyperparameters", "paper_point", "checkpoint_report", "validation_loss", "em@10")
_CHOSEN += ("training_seconds", "peak_memory_mib", "trainable_parameters", "parameters", "files")
Selection: Any = Annotated[_Selection, AfterValidator(_complete)]


@_model
class CodeBleu(TypedDict):
    """CodeBLEU of a test and its parts, in percent; none where there is nothing to compare."""

    score: Percent | None


def _bounded(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics of a test: how many `items`, everything else in percent."""
    if not isinstance(metrics.get("items"), int):
        raise ValueError("items: their number is missing")
    for name, value in metrics.items():
        if name != "items" and isinstance(value, int | float) and value > _MOST_PERCENT:
            raise ValueError(f"{name} is above 100")
    return metrics


Metrics = Annotated[
    dict[Name, CodeBleu | Count | Annotated[float, Field(ge=0, le=_MOST_PERCENT)] | None], AfterValidator(_bounded)
]
_RESULT: dict[str, Any] = {
    "format": NotRequired[Format],
    "origin": NotRequired[str],
    "metrics": Metrics,
    "seconds": NotRequired[Measure],
    **{key: kind for key, kind in _COSTS.items() if key not in ("trainable_parameters", "parameters")},
    "predictions_sha256": NotRequired[Sha256],
}

# `test.json`: the test of a cell's selected trial on one data set.
TestResult = _record(
    "TestResult",
    {"cell": NotRequired[Name], "dataset": NotRequired[Name], "trial": NotRequired[str], **_RESULT},
)

# `<n>-shot-seed-<s>.json`: one in-context-learning run.
IclResult = _record(
    "IclResult",
    {"model": Name, "dataset": Name, "examples": Count, "seed": Count, **_RESULT},
)


@_model
class Prediction(TypedDict):
    """A line of `predictions.jsonl`: a test item and its candidates, best first."""

    id: str | int
    intent: NotRequired[str]
    prompt: NotRequired[str]
    reference: str
    candidates: list[str]
    scores: NotRequired[list[Number]]


@_model
class Failure(TypedDict):
    """`*.error.json`: why a job has no result; `job` is the path of that result in the run folder, without suffix."""

    job: NotRequired[str]
    end: NotRequired[State]
    error: str
    time: NotRequired[Time]


@_model
class Event(TypedDict):
    """A line of `events.jsonl`: something that happened to the run, or to one of its trials or cells."""

    time: NotRequired[Time]
    text: str
    trial: NotRequired[str]
    cell: NotRequired[str]


@_model
class Dashboard(TypedDict):
    """`dashboard.json`: where Ray's dashboard is (`raypeft.execution.dashboard.Dashboard`)."""

    url: Annotated[str, Field(pattern=r"^http://[\w.:\[\]-]+$", max_length=300)]
    host: Annotated[str, Field(max_length=300)]
    session: str | None
    token_file: str | None


@_model
class Split(TypedDict):
    """A split of a data set as the study uses it."""

    items: Count
    sha256: str
    of: NotRequired[Count]
    dropped: NotRequired[list[str]]
    repeated_ids: NotRequired[list[str]]


@_model
class Manifest(TypedDict):
    """`manifest.json`: what a run ran with, and on what."""

    format: NotRequired[Format]
    study: NotRequired[str]
    raypeft: NotRequired[str]
    results_version: NotRequired[int | None]
    versions: NotRequired[dict[str, str]]
    cpu: NotRequired[str]
    gpus: NotRequired[list[Any]]
    precision: NotRequired[dict[str, Literal["fp32", "bf16", "fp16"] | None]]
    datasets: NotRequired[dict[str, dict[str, Split]]]
    models: NotRequired[dict[str, dict[str, Any]]]
    revisions: NotRequired[dict[Literal["models", "datasets"], dict[str, str]]]


# `taken.json`: where a cell comes from that was taken over, with its reports and trials.
Taken = _record(
    "Taken",
    {
        "format": NotRequired[Format],
        "origin": str,
        "reports": list[Report],  # type: ignore[valid-type]
        "trials": list[TrialEnd],  # type: ignore[valid-type]
    },
)
