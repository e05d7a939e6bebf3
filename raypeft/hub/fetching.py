"""Fetching what a study needs into the hub's cache, with progress."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from raypeft.errors import UserError
from raypeft.hub.faults import HubError
from raypeft.hub.repository import download
from raypeft.hub.study import Need, Wanted, needs, refusal, revisions, survey, ways_on
from raypeft.output.console import say
from raypeft.output.text import duration, size
from raypeft.spec.resolve import ResolvedStudy

LINE_EVERY = 20.0


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
    with _Meters(wanted, console) as meters:
        for need, want in wanted.items():
            start = time.monotonic()
            meters.begin(need)
            try:
                commits[need] = download(want.listing, want.files, meters.of).name
            except HubError as error:
                failed[need] = error
                meters.give_up()
                say(console, f"{need}: {error.what}")
            else:
                text = f"{need}: {size(want.bytes)} in {duration(time.monotonic() - start)}"
                say(console, text)
    return commits, failed


def _unavailable(study: str, failed: Mapping[Need, HubError]) -> UserError:
    what = f"{study}: not all of its models and data sets can be had, so nothing was started"
    return refusal(what, failed, ways_on())


def _free_bytes() -> int:
    folder = Path(constants.HF_HUB_CACHE)
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.is_dir())).free


class _Meters:
    """Progress of all downloads together: a bar in a terminal, a line now and then elsewhere."""

    def __init__(self, wanted: Mapping[Need, Wanted], console: Console) -> None:
        self._wanted = wanted
        self._console = console
        self._files = sum(len(want.files) for want in wanted.values())
        self._file = 0
        self._total = sum(want.bytes for want in wanted.values())
        self._done = self._before = 0
        self._start = self._last_line = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=self._total)

    def __enter__(self) -> "_Meters":
        if self._console.is_terminal and self._wanted:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def begin(self, need: Need) -> None:
        """A need's turn."""
        self._need, self._before = need, self._done
        self._reached = self._file + len(self._wanted[need].files)

    def give_up(self) -> None:
        """The rest of the need in hand will not come."""
        self._total -= self._wanted[self._need].bytes
        self._done = self._before
        self._file = self._reached
        self._bar.update(self._task, completed=self._done, total=self._total)

    def of(self, path: str) -> type[Any]:
        """Class in tqdm's manner that counts the bytes of a file."""
        self._file += 1
        described = f"{self._need.name} {path}, file {self._file} of {self._files}"
        self._bar.update(self._task, description=described)
        advance = self._advance

        class Meter:
            def __init__(self, *arguments: object, **further: object) -> None:
                self.total = further.get("total")

            def __enter__(self) -> "Meter":
                return self

            def __exit__(self, *exception: object) -> None:
                pass

            def update(self, count: float | None = 1) -> None:
                advance(int(count or 0))

            def close(self, *arguments: object, **further: object) -> None:
                pass

            # Bytes on the network and rates, which huggingface_hub tells as well.
            update_transfer = set_postfix_str = set_transfer_postfix_str = close

        return Meter

    def _advance(self, count: int) -> None:
        self._done += count
        self._bar.update(self._task, completed=self._done)
        now = time.monotonic()
        if self._console.is_terminal or now - self._last_line < LINE_EVERY:
            return
        self._last_line = now
        left = (now - self._start) / max(1, self._done) * (self._total - self._done)
        text = f"{size(self._done)} of {size(self._total)}, about {duration(max(0.0, left))} left: {self._need.name}"
        say(self._console, text)
