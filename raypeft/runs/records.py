"""What is written to a run folder: one model of each line and file, with its bounds.

Everything is read and written through `raypeft.runs.reading`. A record carries the version of its format where it is
written; records without one are of the time before there were versions, and may lack what later ones are sure to have.
One of a later version than this package knows is refused.
"""

import re
from collections.abc import Mapping, Set
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    model_validator,
    with_config,
)
from pydantic_core import CoreSchema
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

_HALF = re.compile("[\ud800-\udfff]")
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
Sealed = tuple[Count, Sha256]
SelectBy = Literal["loss", "em@10"]


T = TypeVar("T")


class _NotNull:
    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: Any = handler(source)
        inner: CoreSchema = schema["schema"]
        return inner


Given = Annotated[T | None, _NotNull()]
"""Of a key that may be missing, but not be null."""


def whole_characters(text: Any) -> Any:
    """A text in which half characters, which have no bytes and no place in JSON, are replaced."""
    return _HALF.sub("\ufffd", text) if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(whole_characters)]


def _an_end(state: State) -> State:
    if state in (State.PAUSED, State.RUNNING):
        raise ValueError(f"{state} is no end of a trial")
    return state


AnyState = Annotated[State, Field(strict=False)]  # Ray and JSON have the text
End = Annotated[AnyState, AfterValidator(_an_end)]


class Record(BaseModel):
    """A line or file of a run folder; keys that this version does not know are kept.

    Attributes:
        KIND: what one is, in words.
    """

    model_config = ConfigDict(
        strict=True, extra="allow", frozen=True, allow_inf_nan=False, validate_by_name=True, serialize_by_alias=True
    )
    KIND: ClassVar[str] = "record"

    @classmethod
    def key(cls, name: str) -> str:
        """What a field is called where it is written."""
        return cls.model_fields[name].serialization_alias or name

    def content(self) -> dict[str, Any]:
        """What is written of it: the keys that it was made with, fit for JSON."""
        return self.model_dump(mode="json", exclude_unset=True)


class Versioned(Record):
    """A record that says the version of its format.

    Attributes:
        SURE: fields that every record with a version has.
    """

    SURE: ClassVar[frozenset[str]] = frozenset()
    format: Given[Format] = None

    @model_validator(mode="after")
    def _has_what_is_sure(self) -> Self:
        return self.with_fields(self.SURE)

    def with_fields(self, names: Set[str]) -> Self:
        """The record, which if it has a version says all of these.

        Raises:
            ValueError: it does not.
        """
        if self.format is not None and (missing := names - self.model_fields_set):
            raise ValueError(f"{', '.join(sorted(self.key(name) for name in missing))}: missing")
        return self


class OfTrial(Versioned):
    """Whose a record is."""

    trial: Name
    cell: Name
    number: Count


class Scores(Record):
    """What an evaluation of a trial found: validation loss in nats a token, EM@10 in percent.

    Attributes:
        report: its number, 0 before training; -1 where the trial has ended before any.
        em10_computed: false where EM@10 is that of the evaluation before.
    """

    report: Annotated[int, Field(ge=-1, le=_WHOLE)]
    epoch: Given[Measure] = None
    step: Given[Count] = None
    validation_loss: Loss | None
    best_loss: Loss | None = None
    em10: Percent | None = Field(default=None, validation_alias="em@10", serialization_alias="em@10")
    em10_computed: Given[bool] = Field(
        default=None, validation_alias="em@10_computed", serialization_alias="em@10_computed"
    )


class Memory(Record):
    """Peaks of memory by phase, and the batches that they are of."""

    peak_memory_mib: Measure | None = None
    training_memory_mib: Measure | None = None
    training_reserved_mib: Measure | None = None
    decoding_memory_mib: Measure | None = None
    decoding_reserved_mib: Measure | None = None
    micro_batch: Count | None = None
    decode_batch: Count | None = None
    gradient_checkpointing: bool | None = None


class Times(Record):
    """Seconds so far."""

    training_seconds: Measure | None = None
    evaluation_seconds: Measure | None = None


class Since(Times):
    """What a trial has done since its last report, where a checkpoint lies between two."""

    step: Count


class Costs(Memory, Times):
    """What a trial costs."""

    trainable_parameters: Count | None = None
    parameters: Count | None = None


class Measured(Costs, Scores):
    """What a trial reports of an evaluation.

    Attributes:
        items_per_second: in training.
        shortened: how many items were cut to the token limits, by split and part, in the first report.
        end: how the trial has ended, in its last report.
        error: traceback of a trial that failed.
    """

    items_per_second: Measure | None = None
    shortened: dict[str, int] | None = None
    end: AnyState | None = None
    error: Text | None = None


class Message(Measured):
    """What a worker sends: a report, with what is for the driver alone.

    Attributes:
        fault: why the trial ends, in a line.
        notice: something that happened to the trial.
        transient: whether another try may do better.
    """

    fault: Text | None = None
    notice: Text | None = None
    transient: bool | None = None

    @classmethod
    def received(cls, result: Mapping[str, Any]) -> Self:
        """A message as Ray passes it on, with keys of its own."""
        return cls.model_validate({key: result[key] for key in _SENT if key in result})

    def sent(self) -> dict[str, Any]:
        """It as Ray takes it."""
        return self.model_dump(exclude_unset=True)


_SENT = tuple(map(Message.key, Message.model_fields))


class Report(Measured, OfTrial):
    """A line of `reports.jsonl`."""

    KIND = "report"
    SURE = frozenset({"em10", "em10_computed", "time"})
    report: Count
    hyperparameters: Given[Point] = None
    time: Given[Time] = None


class Ended(Record):
    """How a trial has ended."""

    state: End
    reason: Text | None = None
    hyperparameters: Given[Point] = None
    paper_point: bool | None = None
    reports: Given[Count] = None
    best_report: Count | None = None
    best_loss: Loss | None = None
    best_em10: Percent | None = Field(default=None, validation_alias="best_em@10", serialization_alias="best_em@10")


class TrialEnd(Costs, Ended, OfTrial):
    """A line of `trials.jsonl`.

    Attributes:
        transient: whether it failed for a reason that another try may not meet.
        notices: what happened to it.
    """

    KIND = "end of a trial"
    SURE = frozenset({"state", "reason", "hyperparameters", "reports", "best_report", "best_loss", "best_em10", "time"})
    error: Text | None = None
    time: Given[Time] = None
    transient: bool = False
    notices: list[Text] = []


class Chosen(Versioned):
    """What was selected of a cell; `trial` is none where nothing could be, for a reason."""

    cell: Name | None = None
    origin: Given[str] = None
    trial: Name | None
    reason: Text | None = None
    number: Count | None = None
    hyperparameters: Given[Point] = None
    paper_point: bool | None = None
    checkpoint_report: Count | None = None
    validation_loss: Loss | None = None
    em10: Percent | None = Field(default=None, validation_alias="em@10", serialization_alias="em@10")


class Selection(Costs, Chosen):
    """`selection.json`.

    Attributes:
        considered: number of usable trials.
        trials: number of the cell's trials by state.
        files: size and SHA-256 of the selected weights' files.
        notice: why the selected checkpoint is not the best there was.
        lost: which checkpoints are damaged, where none is intact.
    """

    KIND = "selection"
    SURE = frozenset({"cell", "trials"})
    CHOSEN: ClassVar[frozenset[str]] = frozenset(
        {
            "number",
            "hyperparameters",
            "paper_point",
            "checkpoint_report",
            "validation_loss",
            "em10",
            "training_seconds",
            "peak_memory_mib",
            "trainable_parameters",
            "parameters",
            "files",
        }
    )
    select_by: Given[str] = None
    considered: Given[Count] = None
    trials: dict[End, Count] | None = None
    files: dict[FileName, Sealed] | None = None
    notice: Text | None = None
    lost: list[Text] = []

    @model_validator(mode="after")
    def _says_what_or_why(self) -> Self:
        return self.with_fields(self.CHOSEN if self.trial is not None else {"reason"})

    @property
    def point(self) -> dict[str, Any]:
        """The selected trial's hyperparameters."""
        return self.hyperparameters or {}

    @property
    def why(self) -> str:
        """Why nothing was selected."""
        return self.reason or "the reason is not recorded"


@with_config(ConfigDict(strict=True, extra="allow", allow_inf_nan=False))
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


class Outcome(Record):
    """What was measured of a test or an in-context-learning run.

    Attributes:
        metrics: by name, and the number of `items`.
        precision: what the model computed in.
        predictions_sha256: of the file of predictions that the metrics were computed from.
    """

    origin: Given[str] = None
    metrics: Metrics
    seconds: Measure | None = None
    precision: Any = None
    predictions_sha256: Given[Sha256] = None

    @property
    def items(self) -> int:
        """Number of items."""
        count: Any = self.metrics["items"]
        return int(count)


class OfTest(Versioned):
    """Whose result it is."""

    cell: Name | None = None
    dataset: Name | None = None
    trial: str | None = None


class TestResult(Memory, Times, Outcome, OfTest):
    """`test.json`: the test of a cell's selected trial on one data set."""

    __test__ = False  # to pytest
    KIND = "test result"
    SURE = frozenset({"cell", "dataset", "trial", "seconds", "predictions_sha256"})


class OfIcl(Versioned):
    """Whose result it is."""

    model: Name
    dataset: Name
    examples: Count
    seed: Count


class IclResult(Memory, Times, Outcome, OfIcl):
    """`<n>-shot-seed-<s>.json`: one in-context-learning run."""

    KIND = "in-context-learning result"
    SURE = frozenset({"seconds", "predictions_sha256"})


class Prediction(Record):
    """A line of `predictions.jsonl`: a test item and its candidates, best first."""

    KIND = "prediction"
    id: str | int
    intent: Text = ""
    prompt: Text = ""
    reference: Text
    candidates: list[Text]
    scores: list[Number] = []


class Failure(Record):
    """`*.error.json`: why a job has no result; `job` is the path of that result in the run folder, without suffix."""

    KIND = "failure"
    job: Given[str] = None
    end: AnyState | None = None
    error: Text
    time: Given[Time] = None


class Event(Record):
    """A line of `events.jsonl`: something that happened to the run, or to one of its trials or cells."""

    KIND = "event"
    time: Given[Time] = None
    text: Text
    trial: str | None = None
    cell: str | None = None


class Dashboard(Record):
    """`dashboard.json`: what the driver writes down while a run's cluster is up.

    Attributes:
        url: address, as seen from the cluster's head.
        host: machine of the driver.
        session: name of Ray's session, which tells this cluster from a later one at the same address.
        token_file: where the token lies; none where there is none, or it stands in the variable `RAY_AUTH_TOKEN`.
    """

    model_config = ConfigDict(extra="forbid")
    KIND = "dashboard"
    url: Annotated[str, Field(pattern=r"^http://([A-Za-z0-9.-]+|\[[0-9a-f:]+\]):\d{1,5}$")]
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=255)]
    session: str | None
    token_file: str | None


class Split(Record):
    """A split of a data set as the study uses it.

    Attributes:
        items: number of items, and `sha256` of their content.
        source: the file it is taken from, which has `of` items, and `dropped` rows without intent or code.
    """

    items: Count
    sha256: str
    source: Any = None
    of: Count | None = None
    dropped: list[str] = []
    repeated_ids: list[str] = []


class Source(Record):
    """Where a model is loaded from: a folder by its content, or a repository of the hub at a commit."""

    folder: str | None = None
    sha256: str | None = None
    hub: str | None = None
    revision: str | None = None


class Manifest(Versioned):
    """`manifest.json`: what a run ran with, and on what; without any field before it is written."""

    KIND = "manifest"
    SURE = frozenset({"study", "versions", "gpus", "datasets", "models", "revisions"})
    study: str | None = None
    raypeft: str | None = None
    results_version: int | None = None
    git: str | None = None
    started: Any = None
    command: Any = None
    versions: dict[str, str] = {}
    python: Any = None
    platform: Any = None
    cpu: str | None = None
    cores: Any = None
    memory_gib: Any = None
    gpus: list[Any] = []
    precision: dict[str, Literal["fp32", "bf16", "fp16"] | None] | None = None
    datasets: dict[str, dict[str, Split]] = {}
    models: dict[str, Source] = {}
    revisions: Mapping[str, Mapping[str, str]] = {}
    seeds: Any = None

    @property
    def written(self) -> bool:
        """Whether there is one."""
        return bool(self.model_fields_set)


class Taken(Versioned):
    """`taken.json`: where a cell comes from that was taken over, with its reports and trials."""

    KIND = "cell taken over"
    SURE = frozenset({"origin"})
    origin: str
    reports: list[Report]
    trials: list[TrialEnd]
