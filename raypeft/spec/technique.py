"""Techniques: how a model is adapted, what is searched, and the paper's point."""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Literal, Self, TypeGuard

from pydantic import AfterValidator, Field, model_validator

from raypeft.spec.loading import Inconsistent, Strict, find, read_yaml, shipped, validate
from raypeft.spec.protocol import Source
from raypeft.spec.values import (
    Argument,
    Identifier,
    Line,
    Real,
    Short,
    Usual,
    Value,
    Whole,
    distinct,
    quoted,
    shortened,
)

Number = int | float
Bound = Annotated[Real, Usual]
WholeBound = Annotated[Whole, Usual]


def is_number(value: object) -> TypeGuard[Number]:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


class Dimension(Strict):
    """One searched hyperparameter: exactly one of a choice, a range, or a logarithmic range (bounds included).

    Attributes:
        choice, uniform, log_uniform, integer, log_integer: what is drawn.
        times: another searched hyperparameter, of which what is drawn is a multiple.
    """

    choice: Annotated[list[Value], Field(min_length=1), AfterValidator(distinct), Short] | None = None
    uniform: tuple[Bound, Bound] | None = None
    log_uniform: tuple[Bound, Bound] | None = None
    integer: tuple[WholeBound, WholeBound] | None = None
    log_integer: tuple[WholeBound, WholeBound] | None = None
    times: Identifier | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = self.model_dump(exclude_none=True, exclude={"times"})
        if len(given) != 1:
            kinds = [name for name in type(self).model_fields if name != "times"]
            raise ValueError(f"must be exactly one of {', '.join(kinds)}, but is {sorted(given)}")
        ((kind, bounds),) = given.items()
        if kind != "choice" and not bounds[0] < bounds[1]:
            raise ValueError(f"{kind} must go from a smaller to a larger number, but is {list(bounds)}")
        if kind.startswith("log") and bounds[0] <= 0:
            raise ValueError(f"{kind} must start above zero, but starts at {bounds[0]}")
        return self

    @property
    def kind(self) -> str:
        """Which of the kinds is given."""
        return next(iter(self.model_dump(exclude_none=True, exclude={"times"})))

    @property
    def numeric(self) -> bool:
        """Whether all that can be drawn are numbers."""
        return all(is_number(option) for option in self.choice or ())

    @property
    def bounds(self) -> tuple[Number, Number]:
        """Smallest and largest value of a range.

        Raises:
            ValueError: the dimension is a choice.
        """
        bounds = self.uniform or self.log_uniform or self.integer or self.log_integer
        if bounds is None:
            raise ValueError("a choice has no bounds")
        return bounds

    def contains(self, value: object) -> bool:
        """Whether `value` can be drawn from this dimension; of a multiple, it is the factor."""
        if self.choice is not None:
            return any(value == option and type(value) is type(option) for option in self.choice)
        low, high = self.bounds
        if not is_number(value):
            return False
        if "integer" in self.kind and not isinstance(value, int):
            return False
        return low <= value <= high or math.isclose(value, low) or math.isclose(value, high)

    def nearest(self, value: Number) -> Value:
        """What can be drawn of which `value` differs by rounding alone; else the value."""
        near = [end for end in (self.choice or self.bounds) if is_number(end) and math.isclose(value, end)]
        return near[0] if near else value

    def __str__(self) -> str:
        if self.choice is not None:
            drawn = " | ".join(str(option) for option in self.choice)
        else:
            low, high = self.bounds
            drawn = f"{low:g} … {high:g}{' (log)' if self.kind.startswith('log') else ''}"
        return f"({drawn}) × {self.times}" if self.times else drawn


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
        wrong += [*self._wrong_counts(), *self._wrong_modules()]
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

    def _wrong_counts(self) -> Iterator[tuple[str, str]]:
        for name in COUNTS:
            for section, values in (("arguments", self.arguments), ("paper", self.paper), ("package", self.package)):
                if (value := values.get(name)) is not None and not _is_count(value):
                    yield f"{section}.{name}", f"should be a whole number of at least 1, but is {quoted(value)}"
            drawn = self.search.get(name)
            if drawn and drawn.times is None and not all(map(_is_count, drawn.choice or drawn.bounds)):
                message = "should draw whole numbers of at least 1, as integer, log_integer or a choice of them do"
                yield f"search.{name}", message

    def _wrong_modules(self) -> Iterator[tuple[str, str]]:
        for name in MODULES:
            value = self.arguments.get(name, "")
            texts = value if isinstance(value, list) else [value]
            options = self.search[name].choice or [0] if name in self.search else []
            if not texts or not all(isinstance(text, str) for text in texts):
                yield f"arguments.{name}", "should be the name of a module or list, or a list of such names"
            if not all(isinstance(option, str) for option in options):
                yield f"search.{name}", "should be a choice of names"

    def _wrong_multiples(self) -> Iterator[tuple[str, str]]:
        for name, dimension in self.search.items():
            if dimension.times is None:
                continue
            of = self.search.get(dimension.times)
            if of is None or of.times is not None or not (of.numeric and dimension.numeric):
                message = f"is {dimension.times}, but must be a searched number that is no multiple itself"
                yield f"search.{name}.times", message

    def _wrong_values(self, source: Source, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        point = self.point(source)
        drawn = self.to_drawn(point)
        for name in dict.fromkeys(names):
            key = f"{source}.{name}"
            if name not in point:
                yield key, "is missing: the paper's point has a value for all that is searched"
            elif name not in self.search:
                yield key, "is not searched: a fixed value belongs under arguments"
            elif not self.search[name].contains(drawn[self._drawn_name(name)]):
                value = point[name]
                shown = quoted(value) if isinstance(value, str) else repr(value)
                yield key, f"is {shown}, outside its search space {shortened(str(self.search[name]), 200)}"

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
        of = self._multiplied(name, point)
        return self.search[name].nearest(_plain(value / of)) if of and is_number(value) else value

    def _multiple(self, name: str, value: Value, drawn: Mapping[str, Value]) -> Value:
        """A value times the hyperparameter it is a factor of, to the digits that a file would have."""
        of = self._multiplied(name, drawn)
        return _plain(float(f"{value * of:.15g}")) if of and is_number(value) else value

    def _multiplied(self, name: str, point: Mapping[str, Value]) -> Number | None:
        """The number of a point that a hyperparameter is a multiple of, where it is one."""
        dimension = self.search.get(name)
        of = point.get(dimension.times) if dimension and dimension.times else None
        return of if is_number(of) else None

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
