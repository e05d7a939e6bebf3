"""Metrics of a row, and of several runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

Metrics = Mapping[str, float | None]


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) of one metric over seeds; one value has no deviation."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return fmean(self.values)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation."""
        return stdev(self.values) if len(self.values) > 1 else None
