"""The verbs: listed without their modules, and each found when it is called."""

import pytest

from raypeft.cli.verbs import VERBS
from tests.conftest import Call


def test_help_names_every_verb_in_a_line(call: Call) -> None:
    listed = call("--help").out.split("Commands:\n")[1].splitlines()
    assert [line.split(maxsplit=1) for line in listed] == [[verb, summary] for verb, summary in VERBS.items()]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_its_own_help(call: Call, verb: str) -> None:
    done = call(verb, "--help")
    assert done.code == 0 and done.out.startswith("Usage: ") and f"{verb} [OPTIONS]" in done.out


def test_a_verb_that_does_not_exist_is_said_with_what_is_like_it(call: Call) -> None:
    done = call("reprot")
    assert done.code == 2
    assert done.err.splitlines()[-1] == "Error: No such command 'reprot'. Did you mean 'report', 'export'?"


def test_a_verb_of_a_verb_is_found(call: Call) -> None:
    assert "NAME|FILE|FOLDER" in call("data", "check", "--help").out
