"""What can go wrong with the hub, in words that say what to do."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import httpx2
import huggingface_hub
from huggingface_hub import constants, errors

from raypeft.errors import UserError

Kind = Literal["model", "dataset"]
Cause = Literal["missing", "gated", "refused", "unreachable", "offline", "slow", "cut", "disk", "unusable"]

AGAIN = "The same command goes on from here; finished files are kept."
LOG_IN = "hf auth login, or export HF_TOKEN=…"
_FAULTS = (
    OSError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    json.JSONDecodeError,
    errors.HFValidationError,
    errors.RevisionResolutionError,
)


class HubError(UserError):
    """A repository that cannot be had; `cause` tells the cases apart."""

    def __init__(self, what: str, *, cause: Cause, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what, where=where, hint=hint)
        self.cause = cause


def page(kind: Kind, repo: str) -> str:
    """Web page of a repository."""
    return f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"


@contextmanager
def explained(kind: Kind, repo: str, path: str | None = None) -> Iterator[None]:
    """Turns what huggingface_hub raises into a `HubError`; anything else passes."""
    try:
        yield
    except HubError:
        raise
    except _FAULTS as error:
        cause, what, hint = _explain(error, kind, repo, path)
        raise HubError(what, cause=cause, where=f"{kind} {repo}", hint=hint) from error


def _explain(error: Exception, kind: Kind, repo: str, path: str | None) -> tuple[Cause, str, str | None]:
    if isinstance(error, errors.LocalEntryNotFoundError | errors.RevisionResolutionError) and error.__cause__:
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if isinstance(error, errors.HfHubHTTPError):
        return _explain_status(error, kind, repo, path)
    hub, cache = constants.ENDPOINT, constants.HF_HUB_CACHE
    wait = constants.HF_HUB_ETAG_TIMEOUT
    match error:
        case errors.OfflineModeIsEnabled():
            return "offline", f"is not in the cache {cache}, and HF_HUB_OFFLINE is set", "Unset it, or fetch it before."
        case errors.HFValidationError():
            return "missing", f"'{repo}' is not a name of the hub", "Names are organisation/name."
        case errors.FileMetadataError() | json.JSONDecodeError():
            hint = "Check HF_ENDPOINT, and the proxy if there is one."
            return "unreachable", f"{hub} does not answer as a hub does: {_first_line(error)}", hint
        case httpx2.TimeoutException():
            longer = "export HF_HUB_ETAG_TIMEOUT=60 HF_HUB_DOWNLOAD_TIMEOUT=60 waits longer."
            return "slow", f"{hub} did not answer within {wait} s", longer
        case httpx2.RemoteProtocolError() | httpx2.ReadError() | httpx2.WriteError():
            return "cut", f"the connection was cut off{f' in {path}' if path else ''}", AGAIN
        case httpx2.HTTPError() | httpx2.InvalidURL():
            return "unreachable", f"{hub} cannot be reached: {_first_line(error)}", "Check the network and HF_ENDPOINT."
        case OSError() if error.errno == errno.ENOSPC:
            return "disk", f"no space is left in {cache}", f"Make room, or set HF_HOME to a larger disk. {AGAIN}"
        case OSError() if error.errno is not None:
            return "disk", f"the cache {cache} cannot be used: {error.strerror}", "HF_HOME names another."
    return "cut", f"{f'{path}: ' if path else ''}{_first_line(error)}", AGAIN


def _explain_status(
    error: errors.HfHubHTTPError, kind: Kind, repo: str, path: str | None
) -> tuple[Cause, str, str | None]:
    status, web = error.response.status_code, page(kind, repo)
    match error:
        case errors.GatedRepoError() if status == 401 or huggingface_hub.get_token() is None:
            return "gated", "is gated, and no account is logged in", f"Accept its licence on {web}, then: {LOG_IN}"
        case errors.GatedRepoError():
            return "gated", "is gated, and this account has no access yet", f"Accept its licence on {web}"
        case errors.RevisionNotFoundError():
            return "missing", "has no such revision", f"Its branches and tags stand on {web}"
        case errors.RemoteEntryNotFoundError():
            return "missing", f"has no file {path}" if path else "has no such file", f"Its files: {web}/tree/main"
        case errors.RepositoryNotFoundError():
            what = f"does not exist on {constants.ENDPOINT}, or is private"
            return "missing", what, f"Check its name. For a private one: {LOG_IN}"
    if status == 401:
        return "refused", "the hub does not accept the token (401)", f"Renew it: {LOG_IN}"
    if status == 429:
        return "refused", "the hub has had too many requests (429)", f"Wait some minutes, or: {LOG_IN}"
    if status >= 500:
        return "unreachable", f"{constants.ENDPOINT} is in trouble: it answers {status}", "Try again later."
    return "refused", f"the hub answers {status}: {error.server_message or _first_line(error)}", f"See {web}"


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
