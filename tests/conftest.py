"""Shared by all tests: the embedded models, loaded once, and one Ray instance a session."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from raypeft.cli import main
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve

WriteStudy = Callable[[str], str]

MODELS = ("tiny-decoder", "tiny-encoder-decoder")
TECHNIQUES = ("full", "lora", "ia3", "prompt_tuning", "prefix_tuning")
TRAINING = ("modeling", "training")  # folders of tests that train
SMALL = (
    "data.train=40",
    "data.validation=12",
    "data.test=10",
    "validation.em_items=4",
    "training.epochs=2",
    "training.evaluate_every=0.4",
    "early_stopping.grace=2",
    "early_stopping.factor=2",
    "search.trials=3",
    "icl.examples=[0, 1]",
    "icl.seeds=[42, 777]",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that the processes that share the tests end together."""

    def minutes(item: pytest.Item) -> float:
        slow = item.get_closest_marker("slow")
        return slow.kwargs["minutes"] if slow else 0.0

    items.sort(key=lambda item: (-minutes(item), item.path.parent.name not in TRAINING))


def pytest_collection_finish() -> None:
    """Modules stay: looking through them for garbage, which accelerate asks for after each training, takes long."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny models are faster on one thread, and their sums do not depend on how many cores there are."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_plan() -> Plan:
    """The quickstart reduced to seconds: 10 cells, 3 trials, 5 reports, rungs at 2 and 4."""
    return Plan(resolve("quickstart", settings=SMALL))


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Ray instance for every test that needs one; it believes that there is a GPU."""
    import ray

    ray.init(
        address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets beside the repository; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("RAYPEFT_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; RAYPEFT_SHARED_DATA may name another with the public data sets")
    return folder


@pytest.fixture
def write_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteStudy:
    """Function (YAML) -> name: writes `./studies/own.yaml`."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        (tmp_path / "studies").mkdir(exist_ok=True)
        (tmp_path / "studies" / "own.yaml").write_text(dedent(text), encoding="utf-8")
        return "own"

    return write


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Call = Callable[..., Ended]


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Call:
    """Function (arguments…) -> how `raypeft arguments…` ended, called in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("temporary")))

    def call(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["raypeft", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return call
