"""A hub on loopback, and Python processes that know no other."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub.server import Hub

Ask = Callable[..., Any]

_ASK = """
import json, sys
from pathlib import Path
from raypeft import hub
from raypeft.errors import UserError
answers = []
for name, arguments, further in json.loads(sys.argv[1]):
    try:
        found = getattr(hub, name)(*arguments, **further)
        answers.append(str(found) if isinstance(found, Path) else getattr(found, "commit", found))
    except UserError as error:
        answers.append([error.cause, str(error)])
print(json.dumps(answers))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def environment(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """Of a process whose hub is the one on loopback, its cache empty, its patience short."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    return ours | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_ETAG_TIMEOUT": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
    }


@pytest.fixture
def ask(environment: dict[str, str]) -> Ask:
    """Function (calls of `raypeft.hub`…, variables…) -> what each gave: huggingface_hub reads the environment once."""

    def ask(*calls: tuple[Any, ...], **variables: str) -> Any:
        content = json.dumps(
            [
                (name, [a for a in rest if not isinstance(a, dict)], next((a for a in rest if isinstance(a, dict)), {}))
                for name, *rest in calls
            ]
        )
        command = [sys.executable, "-c", _ASK, content]
        done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    return ask
