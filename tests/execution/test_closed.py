"""What a study lets in and lets out: modules of the working directory, the network, other users, secrets."""

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from raypeft.execution.importing import ROOT
from raypeft.runs.folder import Run
from tests.driving import ALONE, SETTINGS, lines

pytestmark = pytest.mark.slow(minutes=1)

STUDY = """
question: Is it closed?
models: [mine]
datasets: [snippets]
techniques: [lora]
catalogue:
  models:
    mine: {title: Mine, folder: models/mine, architecture: decoder, family: llama, parameters: 1000000,
           targets: {attention: [q_proj, k_proj, v_proj], feedforward: [gate_proj, up_proj, down_proj]}}
search: {trials: 1}
"""
SHADOWS = ("random.py", "subprocess.py", "torch.py", "ray/__init__.py", "raypeft/__init__.py", "yaml/__init__.py")
NAMESPACES = ("datasets", "setproctitle", "raypeft_extension")
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "secret-1-of-the-user",
    "HF_TOKEN": "secret-2-of-the-user",
    "https_proxy": "http://user:secret-3-of-the-user@proxy:1",
    "SOME_SERVICE": "secret-4-of-the-user",
    "RAY_REDIS_PASSWORD": "secret-5-of-the-user",
}
OPENING = {"RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "203.0.113.1:6379", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
# A whole study, and then another cluster in the same process, which looks at a worker.
DRIVER = """
import os, sys
from raypeft.__main__ import main
os.environ["PYTHONSAFEPATH"] = "1"
before = dict(os.environ)
try:
    main()
except SystemExit as ended:
    code = ended.code
import json
from rich.console import Console
from raypeft.execution.cluster import cluster
from raypeft.execution.interruption import Interruption
from raypeft.execution.progress import Progress
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve

def look():
    return sys.path, os.environ.get("PYTHONPATH"), os.getcwd()

interruption = Interruption(print, lambda: None)
with interruption, cluster(None, Progress(Plan(resolve("quickstart")), Console()), interruption, print):
    import ray
    seen = ray.get(ray.remote(look).remote())
open("seen.json", "w").write(json.dumps([*seen, dict(os.environ) == before]))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory full of what must not be imported, with a model in a relative folder."""
    home = tmp_path_factory.mktemp("home")
    for name in SHADOWS:
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(f"open({str(home / 'imported')!r}, 'a').write({name!r})\nraise SystemExit({name!r})\n")
    for name in NAMESPACES:
        (home / name).mkdir()
    (home / "models").mkdir()
    (home / "models" / "mine").symlink_to(Path(ROOT) / "raypeft" / "embedded" / "models" / "tiny-decoder")
    (home / "closed.yaml").write_text(STUDY)
    return home


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A place for temporary files whose path is too long for sockets, and the script of the driver."""
    long = tmp_path_factory.mktemp("long") / ("x" * 130)
    long.mkdir()
    script = tmp_path_factory.mktemp("script") / "driver.py"
    script.write_text(DRIVER)
    yield long, script


def test_a_study_is_closed(home: Path, places: tuple[Path, Path]) -> None:
    long, script = places
    environment = {**os.environ, **SECRETS, **OPENING, "TMPDIR": str(long), "PYTHONIOENCODING": "ascii"}
    environment["PYTHONPATH"] = os.pathsep.join([ROOT, "", str(home)])
    environment.pop("RAY_TMPDIR", None)
    run = Run(home / "runs" / "closed")
    with subprocess.Popen(
        [sys.executable, str(script), "study", "closed.yaml", *SETTINGS, *ALONE, "--set", "icl=null", "--samples", "1"],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            deadline = time.monotonic() + 200
            while not (run.reports_file.exists() and lines(run.reports_file)):
                assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
                time.sleep(0.2)
            folder = Path(json.loads((run.folder / "owner.json").read_text())["temporary"])
            _check_folder(folder)
            _check_processes(process.pid, folder)
        finally:
            output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert not (home / "imported").exists(), (home / "imported").read_text()
    assert "mine?lora?snippets?000: finished" in output  # an ASCII terminal
    path, children, directory, unchanged = json.loads((home / "seen.json").read_text())
    assert str(home) not in path and "" not in path and children == ROOT and directory != str(home)
    assert unchanged
    assert not folder.exists()
    written = [file for file in run.folder.rglob("*") if file.is_file()]
    assert not [file for file in written for secret in SECRETS.values() if secret.encode() in file.read_bytes()]


def _check_folder(folder: Path) -> None:
    """Nobody else gets in, and nothing secret lies there."""
    assert folder.parent == Path("/tmp") and stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.rglob("*"):
        with suppress(OSError):
            if file.is_file():
                content = file.read_bytes()
                assert not [secret for secret in SECRETS.values() if secret.encode() in content], file


def _check_processes(driver: int, folder: Path) -> None:
    """All listen on loopback alone, and know no secret."""
    token = (folder / "token").read_text().encode()
    children = psutil.Process(driver).children(recursive=True)
    listening = [
        (process.cmdline(), connection.laddr)
        for process in [psutil.Process(driver), *children]
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 8
    assert {address.ip.removeprefix("::ffff:") for _, address in listening} == {"127.0.0.1"}, listening
    for process in children:
        content = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert not [secret for secret in [*SECRETS.values()] if secret.encode() in content], process.cmdline()
        assert token not in content
