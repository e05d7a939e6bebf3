"""Ray's dashboard of a run that is under way: where it is, and the token it asks for."""

import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from raypeft.run import Run
from raypeft.runs.kinds import DASHBOARD
from raypeft.runs.reading import write_record

SECONDS = 5.0
TOKEN_VARIABLE = "RAY_AUTH_TOKEN"


@dataclass(frozen=True)
class Dashboard:
    """What the driver writes down while a run's cluster is up.

    Attributes:
        url: address, as seen from the cluster's head.
        host: machine of the driver.
        session: name of Ray's session, which tells this cluster from a later one at the same address.
        token_file: where the token lies; none where there is none, or it stands in the variable `RAY_AUTH_TOKEN`.
    """

    url: str
    host: str
    session: str | None
    token_file: str | None

    @property
    def is_here(self) -> bool:
        """Whether the driver runs on this machine."""
        return self.host == socket.gethostname()

    def token(self) -> str | None:
        """The token, where it can be read here."""
        if self.token_file is not None and Path(self.token_file).is_file():
            return Path(self.token_file).read_text(encoding="ascii").strip()
        return os.environ.get(TOKEN_VARIABLE)

    def asks_for_token(self) -> bool:
        """Whether the dashboard lets only those in who have the token; Ray's default is that it does."""
        mode = _get(self.url, "/api/authentication_mode", None) or {}
        return bool(mode.get("authentication_mode", "token") != "disabled")


@contextmanager
def announced(run: Run, url: str | None) -> Iterator[None]:
    """Write down where the dashboard of a run's cluster is for as long as it is up."""
    if url is None:
        yield
        return
    dashboard = Dashboard(f"http://{url}", socket.gethostname(), None, _token_file())
    version = _get(dashboard.url, "/api/version", dashboard.token()) or {}
    write_record(run.dashboard_file, DASHBOARD, asdict(dashboard) | {"session": version.get("session_name")})
    try:
        yield
    finally:
        run.dashboard_file.unlink(missing_ok=True)


def running(run: Run) -> Dashboard | None:
    """The dashboard of a run, if its cluster is up; one on another machine cannot be asked and counts as up."""
    content = run.reading.record(run.dashboard_file, DASHBOARD, lambda row: None)
    if content is None:
        return None
    dashboard = Dashboard(*(content[item.name] for item in fields(Dashboard)))
    if not dashboard.is_here:
        return dashboard
    version = _get(dashboard.url, "/api/version", dashboard.token())
    return dashboard if version and version.get("session_name") == dashboard.session else None


def _token_file() -> str | None:
    """Where Ray looks for its token, in its order (docs.ray.io, token authentication)."""
    if os.environ.get(TOKEN_VARIABLE):
        return None
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    return str(path) if path.is_file() else None


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
