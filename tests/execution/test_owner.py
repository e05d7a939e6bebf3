"""One owner a run folder, and when another may take it over."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from raypeft.errors import UserError
from raypeft.execution import owner, temporary
from raypeft.execution.owner import Owner, Ownership, owned
from raypeft.output.console import terminal
from raypeft.output.files import write_json
from raypeft.runs.folder import Run

HOLD = """
import sys, time
from pathlib import Path
from raypeft.execution.owner import Ownership
with Ownership(Path(sys.argv[1]), lambda: None):
    print("owned", flush=True)
    time.sleep(600)
"""


def lost() -> None:
    raise AssertionError("nobody takes over here")


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "owned\n"
        yield process
        process.kill()


def left_behind(folder: Path, age: float = 0.0, **differences: object) -> Owner:
    """The record of an owner that is not there, last touched `age` seconds ago."""
    record = replace(Owner.here(), **differences)  # type: ignore[arg-type]
    write_json(folder / owner.RECORD, asdict(record))
    moment = time.time() - age
    os.utime(folder / owner.RECORD, (moment, moment))
    return record


def test_a_pipe_in_place_of_the_record_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / owner.RECORD)
    assert Owner.read(tmp_path) is None


def test_a_folder_is_owned_and_given_up_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with Ownership(folder, lost) as ownership:
        found = Owner.read(folder)
        assert found == ownership.owner and found.pid == os.getpid() and ownership.before is None
        ownership.keep(Path("/tmp/raypeft-x"))
        assert json.loads((folder / "owner.json").read_text())["temporary"] == "/tmp/raypeft-x"
        (folder / "study.yaml").touch()
    assert [path.name for path in folder.iterdir()] == ["study.yaml"]


def test_a_folder_made_for_nothing_goes_and_one_that_was_there_stays(tmp_path: Path) -> None:
    for folder in (tmp_path / "new", tmp_path):
        with Ownership(folder, lost):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_is_refused_and_told_by_whom(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(UserError) as refused, Ownership(tmp_path / "run", lost):
        pass
    assert f"is in use by process {holder.pid} on " in str(refused.value)
    assert f"stop it: kill {holder.pid}." in str(refused.value)
    assert Owner.read(tmp_path / "run") is not None


def test_a_lock_without_a_record_is_respected(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    (tmp_path / "run" / "owner.json").write_text("{tor")
    with pytest.raises(UserError, match="is in use by another raypeft"), Ownership(tmp_path / "run", lost):
        pass


def test_what_a_killed_process_held_is_taken_over(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert (tmp_path / "run" / "owner.json").exists()
    with Ownership(tmp_path / "run", lost) as ownership:
        assert ownership.before is not None and ownership.before.pid == holder.pid
    assert not (tmp_path / "run" / "owner.json").exists()


def test_the_number_of_a_dead_process_may_belong_to_another(tmp_path: Path) -> None:
    left_behind(tmp_path, pid=os.getppid(), created=psutil.Process(os.getppid()).create_time() - 100)
    with Ownership(tmp_path, lost) as ownership:
        assert ownership.before is not None


def test_an_owner_of_an_earlier_boot_is_dead(tmp_path: Path) -> None:
    left_behind(tmp_path, age=time.time() - psutil.boot_time() + 60, boot="earlier")
    with Ownership(tmp_path, lost) as ownership:
        assert ownership.before is not None


@pytest.mark.parametrize(("age", "lives"), [(0.0, True), (100.0, True), (130.0, False)])
def test_an_owner_on_another_machine_is_judged_by_its_heartbeat(tmp_path: Path, age: float, lives: bool) -> None:
    left_behind(tmp_path, age, host="elsewhere", boot="other")
    if lives:
        with pytest.raises(UserError, match=r"on elsewhere since .*\n.*\nIf it is gone, it counts as dead 120 seconds"):
            Ownership(tmp_path, lost).__enter__()
        return
    with Ownership(tmp_path, lost) as ownership:
        assert ownership.before is not None and ownership.before.host == "elsewhere"


def test_a_heart_beats_and_notices_who_took_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "BEAT_SECONDS", 0.02)
    noticed: list[bool] = []
    with Ownership(tmp_path, lambda: noticed.append(True)):
        moment = time.time() - 1000
        os.utime(tmp_path / "owner.json", (moment, moment))
        wait_until(lambda: (tmp_path / "owner.json").stat().st_mtime > moment + 900)
        assert not noticed
        other = left_behind(tmp_path, mark="another")
        wait_until(lambda: bool(noticed))
    assert Owner.read(tmp_path) == other  # what belongs to the other stays


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_temporary_folder_goes_with_the_processes_recorded_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with no other, whatever its command line says."""
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    folder = temporary.make()
    command = [sys.executable, "-c", "import time; time.sleep(600)", f"--temp_dir={folder}"]
    with subprocess.Popen(command) as process:
        temporary.record(folder)
        with subprocess.Popen(command) as later:
            temporary.remove(folder)
            assert process.wait(timeout=20) == -9 and later.poll() is None
            later.kill()
    assert not folder.exists()
    temporary.remove(tmp_path)
    assert tmp_path.exists()  # not one of ours


WRITES = """
import sys, time
while True:
    open(sys.argv[1] + "/written", "w").close()
    time.sleep(0.001)
"""


def test_a_temporary_folder_goes_though_a_process_takes_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's dashboard writes a file there every few seconds."""
    kill = psutil.Process.kill
    monkeypatch.setattr(psutil.Process, "kill", lambda process: threading.Timer(0.5, kill, [process]).start())
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    folder = temporary.make()
    with subprocess.Popen([sys.executable, "-c", WRITES, str(folder)]) as process:
        while not (folder / "written").exists():
            time.sleep(0.01)
        temporary.record(folder)
        temporary.remove(folder)
        left = folder.exists()
        assert process.wait(timeout=20) == -9
    shutil.rmtree(folder, ignore_errors=True)
    assert not left


def test_what_a_dead_owner_left_is_not_forgotten_when_its_follower_dies_too(tmp_path: Path) -> None:
    dead = replace(Owner.here(), pid=2**30, temporary="/tmp/raypeft-x")
    write_json(tmp_path / "owner.json", asdict(dead))
    with Ownership(tmp_path, lost) as ownership:
        assert ownership.before == dead
        found = Owner.read(tmp_path)
        assert found is not None and (found.pid, found.temporary) == (os.getpid(), "/tmp/raypeft-x")
        ownership.keep(Path("/tmp/raypeft-y"))
    write_json(tmp_path / "owner.json", asdict(replace(dead, host="elsewhere", boot="another")))
    os.utime(tmp_path / "owner.json", (0, 0))
    with Ownership(tmp_path, lost) as ownership:
        assert ownership.owner.temporary is None  # not on this machine


def test_a_temporary_folder_is_near_enough_for_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(deep))
    folder = temporary.make()
    assert folder.parent == Path("/tmp")
    temporary.remove(folder)


def test_a_copied_folder_has_nothing_removed_and_nobody_killed(tmp_path: Path) -> None:
    """By a name alone: what the record of an owner names may be anybody's."""
    victim = Path(tempfile.mkdtemp(prefix="raypeft-", dir="/tmp"))
    (victim / "thesis.tex").write_text("precious")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(victim)]) as process:
        left_behind(tmp_path, pid=2**30, temporary=str(victim))
        with owned(tmp_path, terminal()) as (_, ownership):
            assert ownership.before is not None and ownership.before.temporary == str(victim)
        assert process.poll() is None and (victim / "thesis.tex").exists()
        process.kill()
    shutil.rmtree(victim)


@pytest.mark.parametrize(
    "change",
    [
        {"pid": 10**30},
        {"pid": -1},
        {"pid": "1"},
        {"created": 1e999},
        {"host": ["a"]},
        {"temporary": 5},
        {"further": 1},
        {"since": None},
    ],
    ids=str,
)
def test_a_record_of_another_shape_is_none(tmp_path: Path, change: dict[str, object]) -> None:
    left_behind(tmp_path)
    content = json.loads((tmp_path / "owner.json").read_text()) | change
    (tmp_path / "owner.json").write_text(json.dumps(content))
    assert Owner.read(tmp_path) is None
    (tmp_path / "owner.json").write_text("[" * 100_000)
    assert Owner.read(tmp_path) is None
    with Ownership(tmp_path, lost) as ownership:
        assert ownership.before is None


def test_nothing_is_written_where_a_link_in_a_run_folder_leads(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").write_text("precious\n")
    for name in ("owner.lock", "events.jsonl"):
        (tmp_path / "run" / name).symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="cannot be written: Too many levels of symbolic links"):
        Ownership(tmp_path / "run", lost).__enter__()
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        Run(tmp_path / "run").note("something")
    assert (tmp_path / "precious").read_text() == "precious\n"


@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr(f"os.{call}", denied)
    with pytest.raises(UserError) as caught, Ownership(tmp_path / "theirs" / "run", lost):
        pass
    monkeypatch.undo()
    assert str(caught.value) == (
        f"{tmp_path / 'theirs' / 'run'}: cannot be written: Permission denied\nChoose another with --out."
    )
