"""Ray's dashboard of a run that is under way: where it is, and the token it asks for.

A run folder may be somebody else's: what it says of a dashboard is asked for only at a port of this machine on which
this user's own process listens, and only a token that raypeft or the user has put down is read.
"""

import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from raypeft.execution import temporary
from raypeft.execution.environment import TOKEN as TOKEN_VARIABLE
from raypeft.execution.environment import TOKEN_FILE
from raypeft.runs import records
from raypeft.runs.folder import Run
from raypeft.runs.reading import write_record

SECONDS = 5.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Dashboard(records.Dashboard):
    """Where a run's dashboard is, and whether it may be asked."""

    @property
    def is_here(self) -> bool:
        """Whether the driver runs on this machine."""
        return self.host == socket.gethostname()

    def token(self) -> str | None:
        """The token, where it can be read here."""
        if self.token_file is None:
            return os.environ.get(TOKEN_VARIABLE)
        path = Path(self.token_file)
        if path not in _users_places() and temporary.read(path.parent) is None:
            return None
        with suppress(OSError, ValueError):
            return path.read_text(encoding="ascii").strip()
        return None

    @property
    def is_ours(self) -> bool:
        """Whether it is a process of this user's, on this machine, that listens there."""
        place = urlsplit(self.url)
        if place.hostname not in LOOPBACK:
            return False
        with suppress(psutil.AccessDenied):  # on macOS, to anyone but root
            return any(
                found.status == psutil.CONN_LISTEN
                and found.laddr
                and found.laddr.port == place.port
                and _is_users(found.pid)
                for found in psutil.net_connections("tcp")
            )
        return False

    def asks_for_token(self) -> bool:
        """Whether the dashboard lets only those in who have the token; Ray's default is that it does."""
        mode = (_get(self.url, "/api/authentication_mode", None) if self.is_ours else None) or {}
        return bool(mode.get("authentication_mode", "token") != "disabled")


@contextmanager
def announced(run: Run, url: str | None) -> Iterator[None]:
    """Write down where the dashboard of a run's cluster is for as long as it is up."""
    if url is None:
        yield
        return
    dashboard = Dashboard(url=f"http://{url}", host=socket.gethostname(), session=None, token_file=_token_file())
    version = _get(dashboard.url, "/api/version", dashboard.token()) or {}
    write_record(run.dashboard_file, dashboard.model_copy(update={"session": version.get("session_name")}))
    try:
        yield
    finally:
        run.dashboard_file.unlink(missing_ok=True)


def running(run: Run) -> Dashboard | None:
    """The dashboard of a run, if its cluster is up; one at another address cannot be asked and counts as up."""
    dashboard = run.reading.record(run.dashboard_file, Dashboard)
    if dashboard is None:
        return None
    if not dashboard.is_here or urlsplit(dashboard.url).hostname not in LOOPBACK:
        return dashboard
    if not dashboard.is_ours:
        return None
    version = _get(dashboard.url, "/api/version", dashboard.token())
    return dashboard if version and version.get("session_name") == dashboard.session else None


def _token_file() -> str | None:
    """Where Ray looks for its token, in its order (docs.ray.io, token authentication)."""
    if os.environ.get(TOKEN_VARIABLE):
        return None
    return next((str(path) for path in _users_places() if path.is_file()), None)


def _users_places() -> list[Path]:
    """Where the token lies by the environment, else by Ray's default."""
    named = os.environ.get(TOKEN_FILE)
    return [Path(named)] if named else [Path.home() / ".ray" / "auth_token"]


def _is_users(pid: int | None) -> bool:
    with suppress(psutil.Error):
        return pid is not None and psutil.Process(pid).uids().real == os.getuid()
    return False


def _get(url: str, path: str, token: str | None) -> dict[str, Any] | None:
    """JSON that the dashboard answers with, none where nothing sensible does; never through a proxy."""
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"} if token else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=SECONDS) as response:
            content = json.load(response)
    except (OSError, urllib.error.URLError, ValueError):
        return None
    return content if isinstance(content, dict) else None
