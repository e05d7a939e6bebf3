"""What answers at once must not load torch or ray."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raypeft.execution.importing import ROOT

HEAVY = {"torch", "ray", "transformers", "peft", "optuna", "numpy", "matplotlib", "pandas", "datasets"}
RUN = """
import json, sys
sys.argv = ["raypeft", *sys.argv[1:]]
from raypeft.cli import main
try:
    main()
except SystemExit as end:
    code = end.code
print()
print(json.dumps({"code": code or 0, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""


def loaded(*arguments: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", *arguments], capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["code"] == 0, done.stdout
    return set(found["modules"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["study", "--help"],
        ["study", "quickstart", "--plan"],
        ["study", "examples/smollm2-conala", "--plan"],
        ["list", "studies"],
        ["list", "techniques"],
        ["list", "models"],
        ["list", "datasets"],
        ["data", "check", "snippets"],
    ],
    ids=" ".join,
)
def test_a_light_verb_loads_nothing_heavy(arguments: list[str]) -> None:
    modules = loaded(RUN, *arguments)
    assert {"raypeft", "typer"} <= modules
    assert modules & HEAVY == set()


def test_the_list_of_verbs_loads_none_of_them() -> None:
    modules = loaded(RUN, "--help")
    assert modules & {"pydantic", "yaml", "huggingface_hub", "httpx2"} == set()


@pytest.mark.parametrize(
    "module",
    [
        "raypeft",
        "raypeft.spec.plan",
        "raypeft.runs.folder",
        "raypeft.runs.selection",
        "raypeft.runs.manifest",
        "raypeft.pipeline",
    ],
)
def test_a_light_module_loads_neither_torch_nor_ray(module: str) -> None:
    listing = f"import json, sys, {module}; print(json.dumps(dict(code=0, modules=sorted(sys.modules))))"
    modules = loaded(listing)
    assert module in modules
    assert modules & {"torch", "ray", "transformers", "peft", "optuna"} == set()


def test_the_test_above_would_notice() -> None:
    assert "torch" in loaded("import json, sys, torch; print(json.dumps(dict(code=0, modules=sorted(sys.modules))))")


def test_every_file_of_the_package_says_what_it_is_for() -> None:
    package = Path(__file__).parents[1] / "raypeft"
    files = sorted(package.rglob("*.py"))
    assert len(files) > 50
    assert [str(file) for file in files if not file.read_text(encoding="utf-8").startswith('"""')] == []


@pytest.mark.parametrize("arguments", [["study", "quickstart", "--plan"], ["doctor"]], ids=" ".join)
def test_nothing_is_imported_from_the_working_directory(tmp_path: Path, arguments: list[str]) -> None:
    """Neither for `python -m`, nor for an empty entry of `PYTHONPATH`, both of which put it on Python's path."""
    for name in ("random", "typer", "rich", "yaml", "pydantic", "psutil", "torch", "json", "socket"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('imported {name}')\n")
    for name in ("datasets", "triton", "raypeft_plugin"):
        (tmp_path / name).mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "raypeft", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, "", "."])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
