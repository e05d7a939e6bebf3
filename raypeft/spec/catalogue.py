"""Models and data sets a study can name."""

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from raypeft.errors import UserError
from raypeft.spec.loading import PACKAGE, Inconsistent, Strict, expand, read_yaml, validate
from raypeft.spec.protocol import PromptStyle
from raypeft.spec.shape import Shape
from raypeft.spec.values import Count, Flag, Line, Name, Place, Short, Whole, quoted, shortened

EMBEDDED = "embedded:"
# A folder that holds data sets in folders of their names, used in place of the hub.
DATA_VARIABLE = "RAYPEFT_DATA"
BILLION = 10**9

Architecture = Literal["decoder", "encoder_decoder"]
TargetList = Literal["attention", "feedforward"]
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# Of a hub repository: an organisation and a name, or a name alone.
Repository = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,96}(/[A-Za-z0-9_.-]{1,96})?$")]
Column = Annotated[str, Field(min_length=1, max_length=500)]
Tokens = Annotated[Whole, Field(gt=0, le=10**7)]


class Location(Strict):
    """Where something comes from: a hub repository, or a local folder.

    `folder` may hold `${VARIABLES}` of the environment, or start with `embedded:` for what the package brings.
    """

    hub: Repository | None = None
    revision: Line | None = None
    folder: Place | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.hub is None) == (self.folder is None):
            raise ValueError("needs exactly one of hub and folder")
        return self

    def path(self, where: str) -> Path | None:
        """The local folder, or none for a hub repository.

        Raises:
            UserError: an environment variable is not set, or the folder is missing.
        """
        if self.folder is None:
            return None
        if self.folder.startswith(EMBEDDED):
            home = PACKAGE / "embedded"
            path = home / self.folder.removeprefix(EMBEDDED)
            if not os.path.isdir(path) or not path.resolve().is_relative_to(home.resolve()):
                raise UserError(f"the package brings no {quoted(self.folder)}", where=where)
            return path
        folder = os.path.expanduser(expand(self.folder, where))
        if not os.path.isdir(folder):
            hint = f"Correct it in the study, or with --set {where}=FOLDER"
            raise UserError(f"folder {shortened(folder, 300)} does not exist", where=where, hint=hint)
        return Path(folder)


class ModelEntry(Location):
    """A base model.

    Attributes:
        architecture: `decoder` or `encoder_decoder`; nothing means what the model's configuration says.
        family: models of one origin.
        parameters: number of weights, for planning.
        shape: sizes of its layers, for estimates of memory; a local folder's are read from its `config.json`.
        targets: module lists that techniques refer to; a list that is absent is peft's own for the architecture.
        prompt_style: how the model is asked, by the paper's `instruction` template or its tokenizer's `chat` template.
        gated: whether the hub asks for a licence to be accepted first.
        qkv_layout: cores that the rows of a CodeGen checkpoint's fused attention projection are laid out for.
        trust_remote_code: whether code that the model brings along may run.
    """

    title: Line
    architecture: Architecture | None = None
    family: Line | None = None
    parameters: Annotated[Whole, Field(gt=0, le=10**14)] | None = None
    shape: Shape | None = None
    targets: dict[TargetList, Annotated[list[Line], Field(min_length=1), Short]] = {}
    prompt_style: PromptStyle = "instruction"
    gated: Flag = False
    qkv_layout: Annotated[Whole, Field(gt=0, le=1_024)] | None = None
    trust_remote_code: Flag = False

    @model_validator(mode="after")
    def _one_implementation(self) -> Self:
        if self.qkv_layout is not None and self.trust_remote_code:
            raise Inconsistent(
                [("qkv_layout", "is for transformers' own class: it does not go with trust_remote_code")]
            )
        return self

    @property
    def size(self) -> Literal["small", "large"] | None:
        """The paper's size group (section 4.2): small models have less than a billion weights."""
        if self.parameters is None:
            return None
        return "small" if self.parameters < BILLION else "large"


class DatasetEntry(Location):
    """A data set: files of intents and code, or several data sets trained on together.

    Attributes:
        join: names of the data sets whose training and validation items it joins; it is tested on each of them by
            itself, within that one's own token limits and stop strings.
        files: file of each split, relative to the folder or repository; absent, the usual names are looked for.
        configuration: in place of files, the configuration by which the `datasets` library finds and reads the splits.
        splits: what the splits are called there.
        columns: names of the intent and code columns, and of the item's identifier where there is one; of several
            names the first that a row has, and of several for an identifier a row may have none.
        expected_items: rows that the splits should hold, null ones left out.
        origin: regular expression for the part of an item's identifier that says what it was taken from; items of one
            origin belong in one split.
        max_prompt_tokens: longest prompt of a tuned model, in tokens of its tokenizer, template included.
        max_code_tokens: longest target, and the most tokens that are decoded.
        stop_strings: texts that end a candidate.
    """

    title: Line
    join: Annotated[list[Name], Field(min_length=2), Short] | None = None
    files: dict[Split, Place] = {}
    configuration: Line | None = None
    splits: dict[Split, Line] = {}
    columns: dict[Literal["intent", "code", "id"], Column | Annotated[list[Column], Field(min_length=1), Short]] = {
        "intent": "nl",
        "code": "cmd",
        "id": ["id", "question_id"],
    }
    expected_items: dict[Split, Count] = {}
    origin: Annotated[str, Field(max_length=200)] | None = None
    max_prompt_tokens: Tokens = 64
    max_code_tokens: Tokens = 64
    stop_strings: Annotated[list[Annotated[str, Field(min_length=1, max_length=1_000)]], Short] = []

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if [self.hub, self.folder, self.join].count(None) != 2:
            raise ValueError("needs exactly one of hub, folder and join")
        return self

    @model_validator(mode="after")
    def _complete(self) -> Self:
        wrong = [(f"columns.{column}", "is missing") for column in ("intent", "code") if column not in self.columns]
        if self.join is not None:
            wrong += [
                (key, "belongs to the data sets that are joined")
                for key in ("files", "configuration", "splits", "columns", "expected_items", "origin")
                if getattr(self, key) != type(self).model_fields[key].default
            ]
            twice = [name for name in dict.fromkeys(self.join) if self.join.count(name) > 1]
            wrong += [("join", f"'{name}' stands twice") for name in twice]
        if self.configuration is None and self.splits:
            wrong.append(("splits", "need a configuration"))
        if self.configuration is not None and self.files:
            wrong.append(("files", "are what a configuration tells: give one of the two"))
        asked = (self.columns.get("intent", []), self.columns.get("code", []))
        intents, codes = ({names} if isinstance(names, str) else {*names} for names in asked)
        wrong += [("columns.code", f"{quoted(name)} is the column of the intents") for name in sorted(intents & codes)]
        try:
            re.compile(self.origin or "")
        except (re.error, OverflowError, RecursionError) as error:
            wrong.append(("origin", f"is not a regular expression: {error}"))
        if wrong:
            raise Inconsistent(wrong)
        return self

    def file(self, split: Split) -> str:
        """Path of a split's file in a hub repository."""
        return self.files.get(split, f"{split}.jsonl")


class Catalogue(Strict):
    """Models and data sets by their short names."""

    models: Annotated[dict[Name, ModelEntry], Short] = {}
    datasets: Annotated[dict[Name, DatasetEntry], Short] = {}

    def completed(self, own: dict[str, Any]) -> dict[str, Any]:
        """The raw content of another catalogue, its entries of known names completed with the keys they do not give.

        An entry that names another place takes neither revision nor files from the known one.
        """
        filled = dict(own)
        for kind, known in (("models", self.models), ("datasets", self.datasets)):
            entries = own.get(kind)
            if not isinstance(entries, dict):
                continue
            filled[kind] = {
                name: _completed(entry, known[name]) if name in known and isinstance(entry, dict) else entry
                for name, entry in entries.items()
            }
        return filled

    def extended(self, other: "Catalogue") -> "Catalogue":
        """This catalogue with the entries of another, which win."""
        return Catalogue(models={**self.models, **other.models}, datasets={**self.datasets, **other.datasets})


def _completed(own: dict[str, Any], known: ModelEntry | DatasetEntry) -> dict[str, Any]:
    moved = not {"hub", "folder", "join"}.isdisjoint(own)
    stale = {"hub", "revision", "folder", "join", "files", "configuration", "splits"} if moved else set()
    return {**known.model_dump(mode="json", exclude_unset=True, exclude=stale), **own}


@cache
def shipped_catalogue() -> Catalogue:
    """The catalogue the package brings."""
    folder = PACKAGE / "catalogue"
    content: Mapping[str, object] = {kind: read_yaml(folder / f"{kind}.yaml") for kind in ("models", "datasets")}
    return validate(Catalogue, content, str(folder))


def local_folder(name: str, entry: DatasetEntry) -> Path | None:
    """The folder of a data set; for one of the hub `$RAYPEFT_DATA/<name>`, where there is such a folder.

    Raises:
        UserError: the folder that the entry names does not exist.
    """
    if entry.hub is None:
        return entry.path(f"catalogue.datasets.{name}.folder")
    home = os.environ.get(DATA_VARIABLE)
    folder = Path(os.path.expanduser(home)) / name if home else None
    return folder if folder and os.path.isdir(folder) else None
