"""Drives studies as a user does, `raypeft study …` in a process of its own, and reads what they leave."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import SMALL

COMMAND = [sys.executable, "-m", "raypeft", "study"]
SETTINGS = [argument for setting in SMALL for argument in ("--set", setting)]
ALONE = ("--set", "resources.concurrent=1")  # one worker has to load the libraries, not two


def study(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, timeout=400)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    files = (path for path in folder.rglob("*") if path.is_file() and "report" not in path.relative_to(folder).parts)
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}
