"""The wheel: what it holds, and that it works outside the repository."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
STUDIES = ["examples/smollm2-conala", "examples/smollm2-rq", "quickstart", "rq1", "rq2", "rq3", "rq4"]
DATA = ("catalogue", "embedded", "report/page/templates", "studies", "search_spaces")


def tracked(*folders: str) -> set[str]:
    """Files of the repository by their place in the wheel, without what running leaves behind."""
    paths = (path for folder in folders for path in (REPOSITORY / folder).rglob("*") if path.is_file())
    names = (path.relative_to(REPOSITORY) for path in paths)
    found = {name.as_posix() for name in names if not any(part.startswith((".", "__pycache__")) for part in name.parts)}
    return {name if name.startswith("raypeft/") else f"raypeft/{name}" for name in found}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with hatchling: the environment's, else one that pip fetches; skips where there is neither."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder)]
    if importlib.util.find_spec("hatchling"):
        command.append("--no-build-isolation")
    done = subprocess.run([*command, str(REPOSITORY)], capture_output=True, text=True, timeout=300)
    if done.returncode and "hatchling" in done.stderr and "--no-build-isolation" not in command:
        pytest.skip("hatchling is not installed and cannot be fetched")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == tracked("raypeft", "studies", "search_spaces")
    for part in DATA:
        assert any(name.startswith(f"raypeft/{part}/") for name in held), part
    assert {
        "raypeft/embedded/models/tiny-decoder/model.safetensors",
        "raypeft/embedded/models/tiny-encoder-decoder/tokenizer.json",
        "raypeft/embedded/snippets/train.jsonl",
        "raypeft/studies/quickstart.yaml",
        "raypeft/studies/examples/smollm2-conala.yaml",
        "raypeft/search_spaces/lora.yaml",
        "raypeft/catalogue/models.yaml",
    } <= held
    assert wheel.stat().st_size < 30 * 2**20


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, timeout=300)
    return target


def outside(installed: Path, cwd: Path, *arguments: str) -> str:
    """Output of the installed command, in a folder without a repository."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_package_is_the_one_that_runs(installed: Path, tmp_path: Path) -> None:
    code = "import raypeft; from raypeft.spec.loading import shipped; print(raypeft.__file__, shipped('studies'))"
    file, studies = outside(installed, tmp_path, "-c", code).split()
    assert Path(file) == installed / "raypeft" / "__init__.py"
    assert Path(studies) == installed / "raypeft" / "studies"


def test_it_lists_studies_and_plans_the_quickstart(installed: Path, tmp_path: Path) -> None:
    script = str(installed / "bin" / "raypeft")
    for start in ((script,), ("-m", "raypeft")):
        studies = outside(installed, tmp_path, *start, "list", "studies")
        assert [line.split()[0] for line in studies.splitlines()] == ["study", *STUDIES]
        assert "10 cells, 30 trials, 42 jobs" in outside(installed, tmp_path, *start, "study", "quickstart", "--plan")


def test_its_embedded_data_are_found(installed: Path, tmp_path: Path) -> None:
    code = """
from raypeft.runs.manifest import data_hashes, model_source
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
plan = Plan(resolve("quickstart"))
print([model_source(plan, name).folder for name in plan.resolved.models], *data_hashes(plan)["snippets"])
"""
    assert outside(installed, tmp_path, "-c", code).split() == [
        "['embedded:models/tiny-decoder',",
        "'embedded:models/tiny-encoder-decoder']",
        "train",
        "validation",
        "test",
    ]
