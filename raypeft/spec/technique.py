"""Techniques: how a model is adapted, what is searched, and the paper's point."""

import math
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from raypeft.spec.documents import read_yaml
from raypeft.spec.loading import Inconsistent, Strict, find, validate

Value = bool | int | float | str
Number = int | float
Quantization = Literal["8bit", "4bit"]


class Dimension(Strict):
    """One searched hyperparameter: exactly one of a choice, a range, or a logarithmic range (bounds included)."""

    choice: list[Value] | None = Field(default=None, min_length=1)
    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    integer: tuple[int, int] | None = None
    log_integer: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = self.model_dump(exclude_none=True)
        if len(given) != 1:
            raise ValueError(f"must be exactly one of {', '.join(type(self).model_fields)}, but is {sorted(given)}")
        ((kind, bounds),) = given.items()
        if kind != "choice" and not bounds[0] < bounds[1]:
            raise ValueError(f"{kind} must go from a smaller to a larger number, but is {list(bounds)}")
        if kind.startswith("log") and bounds[0] <= 0:
            raise ValueError(f"{kind} must start above zero, but starts at {bounds[0]}")
        return self

    @property
    def kind(self) -> str:
        """Which of the kinds is given."""
        return next(iter(self.model_dump(exclude_none=True)))

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
        """Whether `value` can be drawn from this dimension."""
        if self.choice is not None:
            return any(value == option and type(value) is type(option) for option in self.choice)
        low, high = self.bounds
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        if "integer" in self.kind and not isinstance(value, int):
            return False
        return low <= value <= high or math.isclose(value, low) or math.isclose(value, high)

    def __str__(self) -> str:
        if self.choice is not None:
            return " | ".join(str(option) for option in self.choice)
        low, high = self.bounds
        return f"{low:g} … {high:g}{' (log)' if self.kind.startswith('log') else ''}"


class Technique(Strict):
    """One YAML of `search_spaces/`.

    Attributes:
        title: name for tables.
        peft: class in `peft` that makes the adapter; none for full fine-tuning.
        quantization: of the base model's weights, by bitsandbytes (Dettmers et al., 2022 and 2023).
        arguments: fixed arguments of that class. `target_modules` and `feedforward_modules` may name the lists of
            the model's `targets` in the catalogue; `{steps: 0.1}` is a tenth of a trial's optimiser steps.
        paper: the paper's point, one value for each searched hyperparameter, the first trial of every cell.
        search: the searched hyperparameters: `learning_rate`, which is the optimiser's, and arguments of `peft`.
    """

    title: str
    peft: str | None = None
    quantization: Quantization | None = None
    arguments: dict[str, Any] = {}
    paper: dict[str, Value]
    search: dict[str, Dimension]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = []
        if "learning_rate" not in self.search:
            wrong.append(("search.learning_rate", "is missing: every technique has a learning rate"))
        for name in dict.fromkeys([*self.search, *self.paper]):
            if name not in self.paper:
                wrong.append((f"paper.{name}", "is missing: the paper's point has a value for all that is searched"))
            elif name not in self.search:
                wrong.append((f"paper.{name}", "is not searched: a fixed value belongs under arguments"))
            elif not self.search[name].contains(self.paper[name]):
                wrong.append(
                    (f"paper.{name}", f"is {self.paper[name]!r}, outside its search space {self.search[name]}")
                )
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

    @property
    def kind(self) -> Literal["full", "adapter"]:
        """Whether the whole model or an adapter is trained."""
        return "full" if self.peft is None else "adapter"


def share_of_steps(value: object) -> float | None:
    """The share in `{steps: share}`, none for any other argument."""
    if isinstance(value, dict) and list(value) == ["steps"] and isinstance(value["steps"], int | float):
        return float(value["steps"])
    return None


def load_technique(name: str) -> Technique:
    """Load a technique by name or path.

    Raises:
        UserError: not found, or invalid, with every problem.
    """
    path = find(name, "search_spaces")
    return validate(Technique, read_yaml(path), str(path))
