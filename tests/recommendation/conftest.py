"""Runs with hand-chosen results."""

from tests.report.conftest import begin

__all__ = ["begin"]
