"""Versions that would give wrong results are refused by the doctor and by a study, before anything is computed.

A version is another one where the metadata of the package say so: a `dist-info` folder earlier on the path.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from raypeft.execution.guards import GUARDS, check_versions

TRANSFORMERS = "  transformers 5.24.0 is installed, and >=5.5,<5.24 works: 5.24 renamed the cache under which virtual"
TREE_SITTER = "  tree-sitter-python 0.25.0 is installed, and >=0.21,<0.22 works: with any other grammar codebleu fails"


def pretend(folder: Path, *packages: str) -> str:
    """A path entry whose metadata give these packages other versions."""
    for package in packages:
        name, version = package.split("==")
        information = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return str(folder)


def call(tmp_path: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*([path] if path else []), str(Path(__file__).parents[2])]),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-m", "raypeft", *arguments]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)


def test_the_versions_here_pass() -> None:
    check_versions()


@pytest.mark.parametrize(
    ("packages", "lines"),
    [
        (["transformers==5.24.0"], [TRANSFORMERS]),
        (["tree-sitter-python==0.25.0"], [TREE_SITTER]),
        (["transformers==5.24.0", "tree-sitter-python==0.25.0"], [TRANSFORMERS, TREE_SITTER]),
        (["codebleu==0.8.0"], ["  codebleu 0.8.0 is installed, and ==0.7.0 works: "]),
    ],
)
def test_a_study_is_refused_before_anything_is_done(tmp_path: Path, packages: list[str], lines: list[str]) -> None:
    done = call(tmp_path, "study", "quickstart", path=pretend(tmp_path / "other", *packages))
    assert (done.returncode, done.stdout) == (2, "")
    first, *told, hint = done.stderr.splitlines()
    assert first == "raypeft: installed packages: "
    assert len(told) == len(lines) and all(map(str.startswith, told, lines)), told
    assert hint.startswith("pip install '")
    assert sorted(os.listdir(tmp_path)) == ["other"]


def test_the_run_before_it_is_not_removed(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "quickstart"
    run.mkdir(parents=True)
    (run / "study.yaml").write_text("precious")
    path = pretend(tmp_path / "other", "transformers==5.24.0")
    assert call(tmp_path, "study", "quickstart", "--fresh", path=path).returncode == 2
    assert (run / "study.yaml").read_text() == "precious"


def test_the_doctor_shows_all_and_refuses(tmp_path: Path) -> None:
    path = pretend(tmp_path / "other", "transformers==5.24.0", "numpy==1.0")
    done = call(tmp_path, "doctor", path=path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1].startswith(TRANSFORMERS)
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert rows["transformers"][1:4] == ["5.24.0", ">=5.5,<5.24", "refused:"]
    assert rows["numpy"][1:] == ["1.0", ">=1.26", "untested"]
    assert rows["tree-sitter-python"][3] == "ok"


def test_the_doctor_as_json(tmp_path: Path) -> None:
    done = call(tmp_path, "doctor", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert {package["state"] for package in found["packages"]} == {"ok"}
    assert {guard.package for guard in GUARDS} <= {package["name"] for package in found["packages"]}
    assert found["cores"] == psutil.cpu_count()
    assert found["memory"]["gib"] == round(psutil.virtual_memory().total / 2**30, 1)
    runs, cache = found["disk"]
    assert (runs["folder"], cache["folder"]) == (str(tmp_path / "runs"), str(tmp_path / "cache" / "hub"))
    assert runs["free_gib"] > 0
    hub = found["hub"]
    assert (hub["endpoint"], hub["reachable"]) == ("http://127.0.0.1:9", False)
    assert "http://127.0.0.1:9 cannot be reached" in hub["why"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use the GPU")
def test_the_doctor_tells_of_gpus_that_torch_cannot_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'NVIDIA A, 24564 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    lines = [line for line in call(tmp_path, "doctor").stdout.splitlines() if line.startswith("GPU")]
    assert lines[0] == "GPU        NVIDIA A, 24564 MiB, says the driver"
    assert lines[1].startswith("GPU        not usable: torch 2") and "finds no GPU that it can use" in lines[1]
