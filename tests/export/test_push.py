"""Uploading an export: what the hub is asked for, and what is said when it does not answer."""

import socket
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from raypeft.export.push import push
from raypeft.hub import HubError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("card")
    return tmp_path


def test_a_repository_is_made_and_the_folder_uploaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        HfApi, "create_repo", lambda self, repo_id, **options: asked.append(("create", {"repo_id": repo_id, **options}))
    )

    def upload(self: HfApi, **options: Any) -> str:
        asked.append(("upload", options))
        return "https://hub/me/tuned/tree/main"

    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert push(folder, "me/tuned", private=True) == "https://hub/me/tuned/tree/main"
    assert asked[0] == ("create", {"repo_id": "me/tuned", "private": True, "exist_ok": True})
    assert asked[1][0] == "upload" and asked[1][1]["repo_id"] == "me/tuned" and asked[1][1]["folder_path"] == folder


def test_a_hub_that_cannot_be_reached(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(HfApi, "__init__", _init_at(closed))
    with pytest.raises(HubError, match=r"model me/tuned: .*cannot be reached"):
        push(folder, "me/tuned", private=False)
    assert (folder / "README.md").exists()


def test_a_name_that_is_none(folder: Path) -> None:
    with pytest.raises(HubError, match="is not a name of the hub"):
        push(folder, "no//name", private=False)


def _init_at(endpoint: str) -> Any:
    original = HfApi.__init__

    def init(self: HfApi) -> None:
        original(self, endpoint=endpoint, token="hf_token")

    return init
