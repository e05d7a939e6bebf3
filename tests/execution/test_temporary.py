"""The temporary folder of a study: where it is made, and what alone is ever removed and killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from raypeft.errors import UserError
from raypeft.execution import temporary
from raypeft.execution.processes import Identity

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
DEAD = Identity(pid=2**30, created=1.0)


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process of this user's that has nothing to do with a study."""
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


def abandoned(*processes: psutil.Process, created: float | None = None) -> Path:
    """A folder whose maker is gone, with what it started."""
    folder = temporary.make()
    known = [Identity(pid=one.pid, created=one.create_time() if created is None else created) for one in processes]
    (folder / temporary.MARK).write_text(temporary.Mark(maker=DEAD, processes=known).model_dump_json())
    return folder


def test_nobody_else_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray opens the folder that it is given to everybody."""
    folder = temporary.make()
    assert folder.stat().st_mode & 0o777 == 0o700 and (folder / temporary.RAY).is_dir()
    temporary.remove(folder)
    assert not folder.exists()


def test_what_a_dead_maker_started_is_ended_with_the_folder(sleeper: subprocess.Popen[bytes]) -> None:
    folder = abandoned(psutil.Process(sleeper.pid))
    temporary.remove(folder)
    assert sleeper.wait(timeout=20) == -9 and not folder.exists()


def test_what_a_recorded_process_has_started_since_is_ended_with_it() -> None:
    """As Ray's workers, of which there is a new one for each that dies: it would write in the folder again."""
    script = f"import subprocess, time; print(subprocess.Popen({SLEEP!r}).pid, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        temporary.remove(abandoned(psutil.Process(parent.pid)))
        assert parent.wait(timeout=10) != 0
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_later_process_of_the_same_number_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    folder = abandoned(psutil.Process(sleeper.pid), created=1.0)
    temporary.remove(folder)
    assert sleeper.poll() is None and not folder.exists()


def test_the_folder_of_a_maker_that_lives_stays(sleeper: subprocess.Popen[bytes]) -> None:
    folder = temporary.make()
    maker = Identity(pid=sleeper.pid, created=psutil.Process(sleeper.pid).create_time())
    (folder / temporary.MARK).write_text(temporary.Mark(maker=maker, processes=[maker]).model_dump_json())
    temporary.remove(folder)
    assert folder.exists() and sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()
    temporary.remove(folder)
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["elsewhere", "unmarked", "damaged", "open", "link", "another's", "nul"])
def test_nothing_else_is_removed_whatever_a_run_folder_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    made = folder = abandoned(psutil.Process())
    if kind == "elsewhere":
        folder = tmp_path / made.name
        made.rename(folder)
    elif kind == "unmarked":
        (made / temporary.MARK).unlink()
    elif kind == "damaged":
        (made / temporary.MARK).write_text('{"maker": {"pid": "1", "created": 0}}')
    elif kind == "open":
        made.chmod(0o755)
    elif kind == "link":
        folder = made.with_name(f"{made.name}-link")
        folder.symlink_to(made)
    elif kind == "another's":
        uid = os.getuid()
        monkeypatch.setattr("os.getuid", lambda: uid + 1)
    else:
        folder = Path(f"{made}\0")
    temporary.remove(folder)
    monkeypatch.undo()
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    left = made if made.exists() else folder
    assert left.exists() and (kind == "unmarked" or (left / temporary.MARK).exists())
    if kind == "link":
        folder.unlink()
    subprocess.run(["rm", "-r", str(left)], check=True)


def test_processes_that_are_started_afterwards_are_written_down(sleeper: subprocess.Popen[bytes]) -> None:
    """What a notebook has started before its study is none of the study's."""
    folder = temporary.make()
    with subprocess.Popen(SLEEP) as later:
        temporary.record(folder)
        mark = temporary.read(folder)
        assert mark is not None and mark.maker.pid == os.getpid()
        pids = {one.pid for one in mark.processes}
        assert later.pid in pids and sleeper.pid not in pids
        temporary.remove(folder)
        assert later.wait(timeout=20) == -9 and sleeper.poll() is None and not folder.exists()


@pytest.mark.parametrize(("name", "variable"), [("RAY_TMPDIR", "RAY_TMPDIR"), ("TMPDIR", None)])
def test_a_place_that_is_too_long_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, variable: str | None
) -> None:
    long = tmp_path / ("x" * 130)
    long.mkdir()
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv(name, str(long))
    assert temporary.base() == Path("/tmp")


def test_a_place_that_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "missing"))
    with pytest.raises(UserError) as caught:
        temporary.make()
    assert str(caught.value) == (
        f"RAY_TMPDIR: folder {tmp_path / 'missing'} does not exist\n"
        "Set RAY_TMPDIR to a folder that can be written, with a path of at most 20 characters."
    )


def test_a_place_that_cannot_be_written_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: str(path) != "/tmp")
    with pytest.raises(UserError, match="RAY_TMPDIR: folder /tmp cannot be written"):
        temporary.make()


def test_threads_may_write_it_down_together_and_not_after_its_end() -> None:
    folder = temporary.make()
    with subprocess.Popen(SLEEP) as process, ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(temporary.record, folder) for _ in range(200)]:
            done.result()
        process.kill()
    temporary.remove(folder)
    temporary.record(folder)
    assert not folder.exists()
