"""Metric blocks of results as plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

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


def flatten(metrics: Mapping[str, Any]) -> Metrics:
    """Metrics as single numbers: of CodeBLEU its score."""
    return {
        key: value["score"] if isinstance(value, Mapping) else value for key, value in metrics.items() if key != "items"
    }
