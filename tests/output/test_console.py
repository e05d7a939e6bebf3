"""Text that is only text: shown, never obeyed, whatever it holds and whatever the terminal can show."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from raypeft.errors import UserError
from raypeft.execution.owner import Owner
from raypeft.execution.progress import Progress
from raypeft.output.console import echo_error, echo_json, echo_lines, lines_table, print_lines, say
from raypeft.output.files import write_lines, write_text
from raypeft.output.text import UNPRINTABLE
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from tests.conftest import Call

MARKUP = "[bold]b[/bold][/nothing]:smile:"
ATTACK = f"\x1b[31m\x1b]0;title\x07\x9b2J\u202e\u061c\x08\x7f{MARKUP}"
SHOWN = f"�[31m�]0;title��2J����{MARKUP}"


def test_no_way_of_printing_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    echo_lines([f"{ATTACK}\nspoofed"])
    echo_error(UserError(ATTACK, where=ATTACK, hint=ATTACK))
    table = lines_table(ATTACK, "b")
    table.add_row(f"{ATTACK}\nspoofed", "c")
    print_lines(table)
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        f"{SHOWN}\\nspoofed",
        f"{SHOWN}{'':9}  b",
        f"{SHOWN}\\nspoofed  c",
    ]
    assert captured.err == f"raypeft: {SHOWN}: {SHOWN}\n{SHOWN}\n"


def test_json_stays_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    echo_json({ATTACK: "\U000e0041 ü \ud800"})
    printed = capsys.readouterr().out
    assert not UNPRINTABLE.search(printed)
    assert json.loads(printed) == {ATTACK: "\U000e0041 ü \ud800"}


def test_progress_obeys_nothing() -> None:
    resolved = resolve("quickstart", models=["tiny-decoder"], techniques=["lora"])
    study = resolved.study.model_copy(update={"question": ATTACK})
    progress = Progress(
        Plan(resolved.model_copy(update={"study": study})),
        Console(file=io.StringIO(), width=200, color_system=None, force_terminal=False),
    )
    progress.jobs_begin(1, 0)
    progress.job_ended("test", ATTACK)
    progress.console.print(progress._table())
    say(progress.console, f"{ATTACK}{'x' * 5000}")
    printed = progress.console.file.getvalue()  # type: ignore[attr-defined]
    assert not UNPRINTABLE.search(printed)
    assert printed.count("[bold]b[/bold][/nothing]:smile:") == 4
    assert printed.count("x") < 2100 and printed.endswith("…\n")


def test_a_long_error_is_kept_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    problems = "\n".join(f"  key.{number}: is wrong" for number in range(1000))
    echo_error(UserError(problems, where="study.yaml", hint="Mend it."))
    printed = capsys.readouterr().err
    assert len(printed) < 2200
    head, kept, hint = printed.removesuffix("\n").rsplit("\n", 2)
    assert head.startswith("raypeft: study.yaml:   key.0: is wrong\n") and hint == "Mend it."
    file = Path(kept.removeprefix("All of it: "))
    assert file.read_text(encoding="utf-8") == f"raypeft: study.yaml: {problems}\nMend it.\n"
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()


def test_a_plan_and_a_check_show_what_is_in_data_and_names(call: Call, tmp_path: Path) -> None:
    rows = [{"id": f"{number} {ATTACK}", "nl": f"{number} {ATTACK}", "cmd": "pass", ATTACK: 1} for number in (1, 1, 2)]
    for split in ("train", "validation", "test"):
        write_lines(Path("data") / f"{split}.jsonl", rows)
    study = {
        "question": ATTACK,
        "models": ["tiny-decoder"],
        "datasets": ["own"],
        "techniques": ["lora"],
        "catalogue": {"datasets": {"own": {"title": "[red]Own[/red]", "folder": "data"}}},
    }
    Path("study.yaml").write_text(json.dumps(study))
    planned, checked = call("study", "study.yaml", "--plan"), call("data", "check", "data")
    for ended in (planned, checked, call("study", f"{ATTACK}.yaml"), call("data", "check", ATTACK)):
        assert not UNPRINTABLE.search(ended.out + ended.err)
        assert "Traceback" not in ended.err
    assert planned.code == 0 and MARKUP in planned.out, planned.err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_cannot_show_all(tmp_path: Path, encoding: str) -> None:
    write_text(
        tmp_path / "ü→.yaml", "question: über → unter?\nmodels: [tiny-decoder]\ndatasets: [snippets]\ntechniques: [→]"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for arguments in (["study", "ü→.yaml", "--plan"], ["list", "models"], ["study", "quickstart", "--plan"]):
        done = subprocess.run(
            [sys.executable, "-m", "raypeft", *arguments], cwd=tmp_path, env=environment, capture_output=True
        )
        assert b"Traceback" not in done.stderr and done.returncode in (0, 2)
        (done.stdout + done.stderr).decode(encoding)


def test_passwords_in_addresses_are_not_named(
    call: Call, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "https://user:pass@mirror.example:1/x"
    echo_error(UserError(f"{secret} cannot be reached", hint=secret))
    assert (
        capsys.readouterr().err
        == "raypeft: https://…@mirror.example:1/x cannot be reached\nhttps://…@mirror.example:1/x\n"
    )
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", secret)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "user:pass" not in call("doctor", "--json").out
    monkeypatch.setattr(sys, "argv", ["raypeft", "study", "--set", f"x={secret}"])
    assert Owner.here().command == "raypeft study --set x=https://…@mirror.example:1/x"
