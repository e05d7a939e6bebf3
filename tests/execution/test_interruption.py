"""Signals, each in a process of its own."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

PROGRAM = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
from pathlib import Path
from raypeft.execution import interruption
from raypeft.execution.interruption import Interruption

interruption.SAME_SECONDS = 0.05
interruption.LIMIT_SECONDS = float(sys.argv[2])
say = lambda text: print(text, flush=True)
with Interruption(say, lambda: Path("cleaned").touch()) as stop:
    try:
        if sys.argv[1] == "plain":
            say("ready")
            time.sleep(600)
        with stop.gracefully():
            child = subprocess.Popen(["sleep", "600"])
            say(f"ready {child.pid}")
            while stop.asked is None:
                time.sleep(0.01)
            if sys.argv[1] == "obedient":
                child.kill()
                say("written")
                raise KeyboardInterrupt
            say("deaf")
            time.sleep(600)
    except KeyboardInterrupt:
        say(f"interrupted by {stop.asked}")
        sys.exit(130)
"""


def start(folder: Path, kind: str, limit: float = 60) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, kind, str(limit)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # ignored under nohup
    )
    assert line(process).startswith("ready")
    return process


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("kind", ["plain", "obedient"])
def test_a_first_signal_stops_in_order(tmp_path: Path, kind: str, number: signal.Signals) -> None:
    process = start(tmp_path, kind)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert output.startswith(f"{number.name}: stopping.") and output.endswith(f"interrupted by {number.name}\n")
    assert ("\nwritten\n" in output) == (kind == "obedient")
    assert not (tmp_path / "cleaned").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once_with_all_children(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, "deaf")
    children = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGTERM)
    while line(process) != "deaf\n":
        pass
    try:
        process.wait(timeout=0.3)  # two signals for one wish come closer together
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    assert process.communicate(timeout=30)[0].startswith("Stopped at once.")
    assert process.returncode == 130 and (tmp_path / "cleaned").exists()
    assert psutil.wait_procs(children, timeout=20)[1] == []


def test_a_stop_that_takes_too_long_is_cut_short(tmp_path: Path) -> None:
    process = start(tmp_path, "deaf", limit=0.5)
    process.send_signal(signal.SIGTERM)
    assert "Stopped at once." in process.communicate(timeout=30)[0]
    assert process.returncode == 130 and (tmp_path / "cleaned").exists()


def test_nohup_is_respected(tmp_path: Path) -> None:
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + PROGRAM
    command = [sys.executable, "-c", ignoring, "plain", "60"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert line(process) == "ready\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    assert "interrupted by SIGINT" in process.communicate(timeout=30)[0]
