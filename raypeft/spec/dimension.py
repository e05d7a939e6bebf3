"""Searched hyperparameters: what of one can be drawn."""

import math
from typing import Annotated, Self, TypeGuard

from pydantic import AfterValidator, Field, model_validator

from raypeft.spec.loading import Strict
from raypeft.spec.values import Identifier, Real, Short, Usual, Value, Whole, quoted

Number = int | float
Bound = Annotated[Real, Usual]
WholeBound = Annotated[Whole, Usual]


def is_number(value: object) -> TypeGuard[Number]:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _different(options: list[Value]) -> list[Value]:
    seen = [(type(option), option) for option in options]
    if twice := [option for index, (_, option) in enumerate(seen) if seen[index] in seen[:index]]:
        raise ValueError(f"{quoted(twice[0])} stands twice")
    return options


class Dimension(Strict):
    """One searched hyperparameter: exactly one of a choice, a range, or a logarithmic range (bounds included).

    Attributes:
        choice, uniform, log_uniform, integer, log_integer: what is drawn.
        times: another searched hyperparameter, of which what is drawn is a multiple.
    """

    choice: Annotated[list[Value], Field(min_length=1), AfterValidator(_different), Short] | None = None
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
