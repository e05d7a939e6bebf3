"""Uploading an exported folder to a hub."""

from pathlib import Path

from huggingface_hub import HfApi

from raypeft.hub.faults import explained


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Upload a folder to a model repository, which is made if it does not exist.

    Args:
        folder: what to upload.
        repository: `owner/name`.
        private: whether a new repository is.

    Returns:
        Address of the upload.

    Raises:
        HubError: the hub cannot be reached, or refuses; the folder stays as it is.
    """
    with explained("model", repository):
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Add weights and card"))
