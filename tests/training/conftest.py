"""The small study of these tests."""

import pytest

from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from tests.conftest import SMALL

SHORT_CODE = "{title: S, folder: 'embedded:snippets', max_prompt_tokens: 64, max_code_tokens: 12}"


@pytest.fixture(scope="session")
def small_plan() -> Plan:
    """As elsewhere, with code of 12 tokens: searching for candidates takes the most time of a trial this small."""
    return Plan(resolve("quickstart", settings=[*SMALL, f"catalogue.datasets.snippets={SHORT_CODE}"]))
