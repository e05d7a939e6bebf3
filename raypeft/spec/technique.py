"""Techniques: how a model is adapted, what is searched, and the paper's point."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Literal, Self

from pydantic import model_validator

from raypeft.spec.dimension import Dimension, Number, is_number
from raypeft.spec.documents import read_yaml
from raypeft.spec.loading import Inconsistent, Strict, find, shipped, validate
from raypeft.spec.protocol import Source
from raypeft.spec.values import Argument, Identifier, Line, Short, Value, quoted, shortened

__all__ = ["Dimension", "Quantization", "Technique", "Value", "load_technique", "share_of_steps"]

# Those that the paper tunes with; of others, `paper` holds a point from elsewhere.
IN_THE_PAPER = ("full", "lora", "ia3", "prompt_tuning", "prefix_tuning", "qlora_8bit", "qlora_4bit")
Quantization = Literal["8bit", "4bit"]

# Arguments of peft's classes that plans are made with: numbers of ranks and tokens, and lists of modules.
COUNTS = ("r", "init_r", "target_r", "num_virtual_tokens", "encoder_hidden_size")
MODULES = ("target_modules", "feedforward_modules")


class Technique(Strict):
    """One YAML of `search_spaces/`.

    Attributes:
        title: name for tables.
        peft: class in `peft` that makes the adapter; none for full fine-tuning.
        quantization: of the base model's weights, by bitsandbytes (Dettmers et al., 2022 and 2023).
        arguments: fixed arguments of that class. `target_modules` and `feedforward_modules` may name the lists of
            the model's `targets` in the catalogue; `{steps: 0.1}` is a tenth of a trial's optimiser steps.
        paper: the paper's point, one value for each searched hyperparameter.
        package: the values in which the paper's replication package differs from it.
        search: the searched hyperparameters: `learning_rate`, which is the optimiser's, and arguments of `peft`.
    """

    title: Line
    peft: Identifier | None = None
    quantization: Quantization | None = None
    arguments: Annotated[dict[Identifier, Argument], Short] = {}
    paper: Annotated[dict[Identifier, Value], Short]
    package: Annotated[dict[Identifier, Value], Short] = {}
    search: Annotated[dict[Identifier, Dimension], Short]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = []
        if "learning_rate" not in self.search:
            wrong.append(("search.learning_rate", "is missing: every technique has a learning rate"))
        elif (rate := self.search["learning_rate"]).times is None and not (rate.numeric and _lowest(rate) >= 0):
            wrong.append(("search.learning_rate", "should be numbers from 0 on"))
        wrong += self._wrong_multiples()
        wrong += self._wrong_values("paper", [*self.search, *self.paper])
        wrong += self._wrong_values("package", self.package)
        wrong += [(f"arguments.{name}", "is searched as well") for name in self.arguments if name in self.search]
        wrong += [
            (f"search.{name}.choice", "should have no texts among numbers")
            for name, dimension in self.search.items()
            if any(map(is_number, dimension.choice or ())) and any(isinstance(o, str) for o in dimension.choice or ())
        ]
        wrong += self._wrong_counts() + self._wrong_modules()
        for name, value in self.arguments.items():
            if (share := share_of_steps(value)) is not None and not 0 < share <= 1:
                wrong.append((f"arguments.{name}.steps", f"is {share}, but must be a share above 0 and up to 1"))
        if self.peft is None and self.quantization is not None:
            wrong.append(("quantization", "needs an adapter: quantised weights cannot be trained"))
        if self.peft is None and (self.arguments or set(self.search) - {"learning_rate"}):
            wrong.append(("peft", "is missing: without an adapter the only hyperparameter is learning_rate"))
        if wrong:
            raise Inconsistent(wrong)
        return self

    def _wrong_counts(self) -> list[tuple[str, str]]:
        wrong = []
        for name in COUNTS:
            fixed = [("arguments", self.arguments.get(name)), ("paper", self.paper.get(name))]
            for section, value in [*fixed, ("package", self.package.get(name))]:
                if value is not None and not _is_count(value):
                    message = f"should be a whole number of at least 1, but is {quoted(value)}"
                    wrong.append((f"{section}.{name}", message))
            drawn = self.search.get(name)
            if drawn and drawn.times is None and not all(map(_is_count, drawn.choice or drawn.bounds)):
                message = "should draw whole numbers of at least 1, as integer, log_integer or a choice of them do"
                wrong.append((f"search.{name}", message))
        return wrong

    def _wrong_modules(self) -> list[tuple[str, str]]:
        wrong = []
        for name in MODULES:
            value = self.arguments.get(name, "")
            texts = value if isinstance(value, list) else [value]
            options = self.search[name].choice or [0] if name in self.search else []
            if not texts or not all(isinstance(text, str) for text in texts):
                wrong.append((f"arguments.{name}", "should be the name of a module or list, or a list of such names"))
            if not all(isinstance(option, str) for option in options):
                wrong.append((f"search.{name}", "should be a choice of names"))
        return wrong

    def _wrong_multiples(self) -> list[tuple[str, str]]:
        wrong = []
        for name, dimension in self.search.items():
            if dimension.times is None:
                continue
            of = self.search.get(dimension.times)
            if of is None or of.times is not None or not (of.numeric and dimension.numeric):
                message = f"is {dimension.times}, but must be a searched number that is no multiple itself"
                wrong.append((f"search.{name}.times", message))
        return wrong

    def _wrong_values(self, source: Source, names: Iterable[str]) -> list[tuple[str, str]]:
        wrong = []
        point = self.point(source)
        drawn = self.to_drawn(point)
        for name in dict.fromkeys(names):
            key = f"{source}.{name}"
            if name not in point:
                wrong.append((key, "is missing: the paper's point has a value for all that is searched"))
            elif name not in self.search:
                wrong.append((key, "is not searched: a fixed value belongs under arguments"))
            elif not self.search[name].contains(drawn[self._drawn_name(name)]):
                message = f"is {_shown(point[name])}, outside its search space {shortened(str(self.search[name]), 200)}"
                wrong.append((key, message))
        return wrong

    def point(self, source: Source) -> dict[str, Value]:
        """The paper's point, or that of its replication package."""
        return self.paper | self.package if source == "package" else dict(self.paper)

    @property
    def space(self) -> dict[str, Dimension]:
        """What a sampler draws, by name; of `a: {…, times: b}` it draws the factor, `a/b`."""
        return {self._drawn_name(name): dimension for name, dimension in self.search.items()}

    def to_drawn(self, point: Mapping[str, Value]) -> dict[str, Value]:
        """What a sampler draws to come to a point."""
        return {self._drawn_name(name): self._factor(name, value, point) for name, value in point.items()}

    def from_drawn(self, drawn: Mapping[str, Value]) -> dict[str, Value]:
        """The point that a sampler has drawn."""
        return {name: self._multiple(name, drawn[self._drawn_name(name)], drawn) for name in self.search}

    def _drawn_name(self, name: str) -> str:
        dimension = self.search.get(name)
        return f"{name}/{dimension.times}" if dimension and dimension.times else name

    def _factor(self, name: str, value: Value, point: Mapping[str, Value]) -> Value:
        """The factor of a value that is a multiple, without what rounding adds to what can be drawn."""
        dimension, of = self._of(name, point)
        if dimension is None or of is None or not is_number(value):
            return value
        return dimension.nearest(_plain(value / of))

    def _multiple(self, name: str, value: Value, drawn: Mapping[str, Value]) -> Value:
        """A value times the hyperparameter it is a factor of, to the digits that a file would have."""
        _, of = self._of(name, drawn)
        if of is None or not is_number(value):
            return value
        return _plain(float(f"{value * of:.15g}"))

    def _of(self, name: str, point: Mapping[str, Value]) -> tuple[Dimension | None, Number | None]:
        """The dimension of a hyperparameter and, where it is a multiple, the number that it is one of."""
        dimension = self.search.get(name)
        of = point.get(dimension.times) if dimension and dimension.times else None
        return dimension, of if of and is_number(of) else None

    def is_adapted_as(self, other: "Technique") -> bool:
        """Whether a point means the same in both."""
        return (self.peft, self.quantization, self.arguments) == (other.peft, other.quantization, other.arguments)

    @property
    def kind(self) -> Literal["full", "adapter"]:
        """Whether the whole model or an adapter is trained."""
        return "full" if self.peft is None else "adapter"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _lowest(dimension: Dimension) -> Number:
    return min(filter(is_number, dimension.choice or dimension.bounds))


def _plain(number: float) -> Number:
    return int(number) if number.is_integer() else number


def _shown(value: Value) -> str:
    return quoted(value) if isinstance(value, str) else repr(value)


def share_of_steps(value: object) -> float | None:
    """The share in `{steps: share}`, none for any other argument."""
    if isinstance(value, dict) and list(value) == ["steps"] and is_number(value["steps"]):
        return float(value["steps"])
    return None


@cache
def shipped_technique(name: str) -> Technique:
    """A technique that the package brings."""
    return load_technique(str(shipped("search_spaces") / f"{name}.yaml"))


def load_technique(name: str) -> Technique:
    """Load a technique by name or path.

    Raises:
        UserError: not found, or invalid, with every problem.
    """
    path = find(name, "search_spaces")
    return validate(Technique, read_yaml(path), str(path))
