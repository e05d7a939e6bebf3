"""Finding a run's Ray dashboard, tried on a server that answers as Ray's does."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from raypeft.execution.dashboard import Dashboard, announced, running
from raypeft.output.files import read_json, write_json, write_text
from raypeft.runs.folder import Run
from raypeft.spec.plan import Plan
from tests.conftest import Call, call

__all__ = ["call"]

TOKEN = "0123abcd"


class Head(BaseHTTPRequestHandler):
    """Answers the two questions that are put to Ray: its session to who has the token, its mode to everyone."""

    session = "session_1"
    heard: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        answers = {
            "/api/version": {"session_name": self.session},
            "/api/authentication_mode": {"authentication_mode": "token"},
        }
        self.heard.append((self.headers["Authorization"] or "").removeprefix("Bearer "))
        allowed = self.path.endswith("mode") or self.headers["Authorization"] == f"Bearer {TOKEN}"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(json.dumps(answers[self.path]).encode() if allowed else b"Unauthorized")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def ray_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Host and port of such a server, whose token lies where Ray looks for it."""
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    server = HTTPServer(("127.0.0.1", 0), Head)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path, small_plan: Plan) -> Run:
    run = Run(tmp_path / "runs" / "quickstart")
    write_text(run.study_file, small_plan.resolved.dump())
    return run


def test_it_is_found_while_the_cluster_is_up_and_not_afterwards(run: Run, ray_url: str, tmp_path: Path) -> None:
    assert running(run) is None
    with announced(run, ray_url):
        found = running(run)
        assert found is not None and found.url == f"http://{ray_url}"
        assert found.token_file == str(tmp_path / "token") and found.token() == TOKEN and found.asks_for_token()
        assert TOKEN not in run.dashboard_file.read_text()
    assert running(run) is None and not run.dashboard_file.exists()


def test_another_cluster_at_the_same_address_is_not_the_runs(
    run: Run, ray_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with announced(run, ray_url):
        monkeypatch.setattr(Head, "session", "session_2")
        assert running(run) is None


def test_a_driver_that_was_killed_leaves_nothing_running(run: Run, ray_url: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    with announced(run, ray_url):
        content = read_json(run.dashboard_file)
        write_json(run.dashboard_file, content | {"url": f"http://127.0.0.1:{closed}"})
        assert running(run) is None


def test_a_driver_on_another_machine_counts_as_up(run: Run, ray_url: str, call: Call) -> None:
    with announced(run, ray_url):
        write_json(run.dashboard_file, read_json(run.dashboard_file) | {"host": "gpu7"})
        port = ray_url.split(":")[1]
        assert (
            f"the study runs on gpu7; from here: ssh -L {port}:localhost:{port} gpu7"
            in call("dashboard", str(run.folder)).out
        )


def test_a_cluster_without_a_dashboard(run: Run) -> None:
    with announced(run, None):
        assert running(run) is None


def test_the_verb_says_where_it_is_and_how_to_get_in(run: Run, ray_url: str, call: Call, tmp_path: Path) -> None:
    write_text(run.optuna_file, "")
    with announced(run, ray_url):
        output = call("dashboard").out
    assert f"Ray          http://{ray_url}\n" in output
    assert f"cat {tmp_path / 'token'}\n" in output
    assert f'curl -H "Authorization: Bearer $(cat {tmp_path / "token"})" http://{ray_url}/api/version' in output
    assert f"optuna-dashboard {run.optuna_file}" in output
    assert "TensorBoard  nothing has been written yet" in output
    assert TOKEN not in output


def test_the_verb_opens_a_browser_only_where_there_is_something_to_see(
    run: Run, ray_url: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    ended = call("dashboard", str(run.folder), "--open")
    assert ended.code == 2 and "no Ray cluster is running for this run" in ended.err
    with announced(run, ray_url):
        assert call("dashboard", str(run.folder), "--open").code == 0
    assert opened == [f"http://{ray_url}"]


def test_without_a_run_under_way(run: Run, call: Call) -> None:
    ended = call("dashboard")
    assert ended.code == 2
    assert "no run in ./runs has a Ray cluster that is running\nRuns: quickstart. Name one." in ended.err
    shown = json.loads(call("dashboard", "quickstart", "--json").out)
    assert shown == {"folder": str(run.folder), "ray": None, "tensorboard": None, "optuna": None}


@pytest.mark.parametrize("token_file", ["/etc/hostname", "secret"])
def test_a_run_folder_is_given_no_file_of_ours(run: Run, ray_url: str, tmp_path: Path, token_file: str) -> None:
    """Whoever made the folder may listen at the address that it names."""
    (tmp_path / "secret").write_text("precious")
    with announced(run, ray_url):
        content = read_json(run.dashboard_file) | {"token_file": str(tmp_path / token_file)}
        write_json(run.dashboard_file, content)
        assert Dashboard(**content).token() is None
        assert running(run) is None and TOKEN in Head.heard and "precious" not in Head.heard


def test_nothing_is_sent_to_a_port_on_which_another_user_listens(
    run: Run, ray_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with announced(run, ray_url):
        Head.heard.clear()
        monkeypatch.setattr("os.getuid", lambda: 4711)
        assert running(run) is None and Head.heard == []


@pytest.mark.parametrize(
    "change",
    [{"url": "http://evil.example/$(reboot):1"}, {"url": 5}, {"host": "a; reboot"}, {"further": 1}, {"token_file": []}],
)
def test_a_record_of_another_shape_is_none(run: Run, ray_url: str, change: dict[str, object], call: Call) -> None:
    with announced(run, ray_url):
        write_json(run.dashboard_file, read_json(run.dashboard_file) | change)
        assert running(run) is None
        assert "no cluster is running for this run" in call("dashboard", "quickstart").out


def test_another_machine_is_asked_for_nothing(run: Run, ray_url: str) -> None:
    with announced(run, ray_url):
        write_json(run.dashboard_file, read_json(run.dashboard_file) | {"url": "http://192.0.2.1:8265"})
        Head.heard.clear()
        found = running(run)
        assert found is not None and found.asks_for_token() and Head.heard == []
