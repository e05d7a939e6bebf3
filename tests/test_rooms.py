"""The house: which rooms there are, in which order they stand, and that every import goes down."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "raypeft"
# From the ground up: a room uses only itself and those before it. Modules at the root are rooms of their own.
ORDER = (
    "errors",
    "output",
    "embedded",
    "spec",
    "estimate",
    "hub",
    "data",
    "statistics",
    "metrics",
    "runs",
    "execution",
    "modeling",
    "decoding",
    "training",
    "sweep",
    "evaluation",
    "export",
    "report",
    "recommendation",
    "planning",
    "pipeline",
    "api",
    "cli",
    "__main__",
)
MOST_MODULES, MOST_AT_THE_ROOT = 12, 6


def imported(source: str) -> Iterator[str]:
    """Rooms that a module imports from, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for package, *rest in (name.split(".") for name in names):
            if package == "raypeft" and rest and rest[0] in ORDER:
                yield rest[0]


def upward(room: str, source: str) -> set[str]:
    """Rooms above its own that a module imports from."""
    return {other for other in imported(source) if ORDER.index(other) > ORDER.index(room)}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package with its room."""
    for file in sorted(PACKAGE.rglob("*.py")):
        room = file.relative_to(PACKAGE).with_suffix("").parts[0]
        if room != "__init__":
            yield room, file


def test_every_module_is_in_a_room_that_has_its_place() -> None:
    assert {room for room, _ in modules()} <= set(ORDER)


def test_imports_go_down() -> None:
    found = {str(file.relative_to(PACKAGE)): upward(room, file.read_text(encoding="utf-8")) for room, file in modules()}
    assert {file: rooms for file, rooms in found.items() if rooms} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from raypeft.sweep.recorder import Recorder",
        "import raypeft.cli",
        "from raypeft import pipeline",
        "def late():\n    from raypeft.report import write",
    ],
)
def test_the_test_above_would_notice(line: str) -> None:
    assert upward("training", line) and not upward("cli", line)


def test_rooms_are_small() -> None:
    sizes = Counter(file.parent for _, file in modules() if file.name != "__init__.py")
    at_the_root = len(list(PACKAGE.glob("*.py")))
    assert {str(room): size for room, size in sizes.items() if size > MOST_MODULES} == {}
    assert at_the_root <= MOST_AT_THE_ROOT
