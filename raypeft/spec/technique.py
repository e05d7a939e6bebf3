"""Techniques: how a model is adapted, what is searched, and the paper's point."""

import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal, Self, TypeGuard

from pydantic import Field, model_validator

from raypeft.spec.documents import read_yaml
from raypeft.spec.loading import Inconsistent, Strict, find, shipped, validate
from raypeft.spec.protocol import Source

# Those that the paper tunes with; of others, `paper` holds a point from elsewhere.
IN_THE_PAPER = ("full", "lora", "ia3", "prompt_tuning", "prefix_tuning", "qlora_8bit", "qlora_4bit")
Value = bool | int | float | str
Number = int | float
Quantization = Literal["8bit", "4bit"]


class Dimension(Strict):
    """One searched hyperparameter: exactly one of a choice, a range, or a logarithmic range (bounds included).

    Attributes:
        choice, uniform, log_uniform, integer, log_integer: what is drawn.
        times: another searched hyperparameter, of which what is drawn is a multiple.
    """

    choice: list[Value] | None = Field(default=None, min_length=1)
    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    integer: tuple[int, int] | None = None
    log_integer: tuple[int, int] | None = None
    times: str | None = None

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
        return all(_is_number(option) for option in self.choice or ())

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
        if not _is_number(value):
            return False
        if "integer" in self.kind and not isinstance(value, int):
            return False
        return low <= value <= high or math.isclose(value, low) or math.isclose(value, high)

    def __str__(self) -> str:
        if self.choice is not None:
            drawn = " | ".join(str(option) for option in self.choice)
        else:
            low, high = self.bounds
            drawn = f"{low:g} … {high:g}{' (log)' if self.kind.startswith('log') else ''}"
        return f"({drawn}) × {self.times}" if self.times else drawn


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

    title: str
    peft: str | None = None
    quantization: Quantization | None = None
    arguments: dict[str, Any] = {}
    paper: dict[str, Value]
    package: dict[str, Value] = {}
    search: dict[str, Dimension]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = []
        if "learning_rate" not in self.search:
            wrong.append(("search.learning_rate", "is missing: every technique has a learning rate"))
        wrong += self._wrong_multiples()
        wrong += self._wrong_values("paper", [*self.search, *self.paper])
        wrong += self._wrong_values("package", self.package)
        wrong += [(f"arguments.{name}", "is searched as well") for name in self.arguments if name in self.search]
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
                wrong.append((key, f"is {point[name]!r}, outside its search space {self.search[name]}"))
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
        return {self._drawn_name(name): self._scaled(name, value, point, -1) for name, value in point.items()}

    def from_drawn(self, drawn: Mapping[str, Value]) -> dict[str, Value]:
        """The point that a sampler has drawn."""
        return {name: self._scaled(name, drawn[self._drawn_name(name)], drawn, 1) for name in self.search}

    def _drawn_name(self, name: str) -> str:
        dimension = self.search.get(name)
        return f"{name}/{dimension.times}" if dimension and dimension.times else name

    def _scaled(self, name: str, value: Value, point: Mapping[str, Value], power: int) -> Value:
        """A value times the hyperparameter it is a multiple of, or divided by it at power -1."""
        dimension = self.search.get(name)
        of = point.get(dimension.times) if dimension and dimension.times else None
        if not of or not _is_number(of) or not _is_number(value):
            return value
        scaled = float(value) * float(of) ** power
        return int(scaled) if scaled.is_integer() else scaled

    def is_adapted_as(self, other: "Technique") -> bool:
        """Whether a point means the same in both."""
        return (self.peft, self.quantization, self.arguments) == (other.peft, other.quantization, other.arguments)

    @property
    def kind(self) -> Literal["full", "adapter"]:
        """Whether the whole model or an adapter is trained."""
        return "full" if self.peft is None else "adapter"


def _is_number(value: object) -> TypeGuard[Number]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def share_of_steps(value: object) -> float | None:
    """The share in `{steps: share}`, none for any other argument."""
    if isinstance(value, dict) and list(value) == ["steps"] and isinstance(value["steps"], int | float):
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
