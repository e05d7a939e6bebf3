"""Fetching what a study needs into the hub's cache, with progress."""

import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from huggingface_hub import constants
from rich.console import Console

from raypeft.errors import UserError
from raypeft.hub.faults import HubError
from raypeft.hub.repository import download
from raypeft.hub.study import Need, Wanted, needs, refusal, revisions, survey, ways_on
from raypeft.output.console import say
from raypeft.output.text import duration, size
from raypeft.spec.resolve import ResolvedStudy


def provide(resolved: ResolvedStudy, console: Console) -> dict[str, dict[str, str]]:
    """Have everything of a study that is on the hub in the cache before it starts.

    Returns:
        The commit of each entry on the hub, by `models` and `datasets` and by name.

    Raises:
        UserError: one message with all that is neither in the cache nor on the hub. Nothing has been fetched then.
    """
    found = survey(needs(resolved))
    if found.failed:
        raise _unavailable(resolved.name, found.failed)
    commits, failed = fetch(found.wanted, console)
    if failed:
        raise _unavailable(resolved.name, failed)
    return revisions(found.cached | commits)


def fetch(wanted: Mapping[Need, Wanted], console: Console) -> tuple[dict[Need, str], dict[Need, HubError]]:
    """Fetch into the cache, one after the other; what fails does not keep the others back.

    Returns:
        The commit of each need that is there now, and why the others are not.

    Raises:
        UserError: the disk has no room for all of it.
    """
    total = sum(want.bytes for want in wanted.values())
    if total > (free := _free_bytes()):
        raise UserError(
            f"{size(total)} are to be fetched, and {size(free)} are free in {constants.HF_HUB_CACHE}",
            hint="Make room, set HF_HOME to a larger disk, or leave models out with --model.",
        )
    commits: dict[Need, str] = {}
    failed: dict[Need, HubError] = {}
    for need, want in wanted.items():
        start = time.monotonic()
        try:
            commits[need] = download(want.listing, want.files, partial(_tell, console, need, want, start)).name
        except HubError as error:
            failed[need] = error
            say(console, f"{need}: {error.what}")
        else:
            say(console, f"{need}: {size(want.bytes)} in {duration(time.monotonic() - start)}")
    return commits, failed


def _tell(console: Console, need: Need, want: Wanted, start: float, done: int) -> None:
    """A line of how far a download is, where huggingface_hub's bars are not shown."""
    if done and not console.is_terminal:
        left = (time.monotonic() - start) / done * max(0, want.bytes - done)
        say(console, f"{size(done)} of {size(want.bytes)}, about {duration(left)} left: {need.name}")


def _unavailable(study: str, failed: Mapping[Need, HubError]) -> UserError:
    what = f"{study}: not all of its models and data sets can be had, so nothing was started"
    return refusal(what, failed, ways_on())


def _free_bytes() -> int:
    folder = Path(constants.HF_HUB_CACHE)
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.is_dir())).free
