"""Uploading an exported folder to a hub."""

from pathlib import Path

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from raypeft.errors import UserError


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Upload a folder to a model repository, which is made if it does not exist.

    Args:
        folder: what to upload.
        repository: `owner/name`.
        private: whether a new repository is.

    Returns:
        Address of the upload.

    Raises:
        UserError: the hub cannot be reached, or refuses; the folder stays as it is.
    """
    try:
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Add weights and card"))
    except HFValidationError as error:
        raise UserError(str(error), where=f"--push {repository}") from error
    except (HfHubHTTPError, LocalTokenNotFoundError, httpx2.HTTPError, OSError) as error:
        raise UserError(
            f"could not be uploaded: {error}",
            where=repository,
            hint=f"Log in with: hf auth login. What was exported is in {folder}.",
        ) from error
