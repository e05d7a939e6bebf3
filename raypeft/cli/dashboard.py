"""raypeft dashboard: Ray's dashboard, TensorBoard and Optuna's storage of a run."""

import importlib.util
import shlex
import webbrowser
from typing import Annotated, Any

import typer

from raypeft.cli.arguments import RUNS, JsonOption, find_run
from raypeft.errors import UserError
from raypeft.execution.dashboard import Dashboard, running
from raypeft.output.console import echo_json, echo_lines
from raypeft.runs.folder import Run

EXTRA = "pip install 'raypeft[dashboard]'"


def dashboard(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="a run (default: the one of ./runs that is under way)")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="open Ray's dashboard in a browser")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say where Ray's dashboard of a run is and how to get in, and how to open its curves and its search.

    Ray's dashboard is there while the study runs; it lists each running trial as an actor of the trial's name.
    """
    found = find_run(run) if run else _under_way()
    live = running(found)
    if as_json:
        echo_json(_content(found, live))
    else:
        echo_lines([*_ray(found, live), "", *_others(found)])
    if open_:
        if live is None:
            raise UserError("no Ray cluster is running for this run", where=str(found.folder))
        webbrowser.open(live.url)


def _under_way() -> Run:
    runs = [Run.open(path.parent) for path in sorted(RUNS.glob("*/study.yaml"))]
    live = [found for found in runs if running(found)]
    if not live:
        hint = f"Runs: {', '.join(found.folder.name for found in runs)}. Name one." if runs else None
        raise UserError(f"no run in ./{RUNS} has a Ray cluster that is running", hint=hint)
    if len(live) > 1:
        raise UserError(f"several runs are under way: {', '.join(found.folder.name for found in live)}. Name one.")
    return live[0]


def _content(run: Run, live: Dashboard | None) -> dict[str, Any]:
    ray = None
    if live:
        asks = live.asks_for_token() if live.is_here else None
        ray = {"url": live.url, "host": live.host, "asks_for_token": asks, "token_file": live.token_file}
    return {
        "folder": str(run.folder),
        "ray": ray,
        "tensorboard": str(run.tensorboard_folder) if run.tensorboard_folder.exists() else None,
        "optuna": str(run.optuna_file) if run.optuna_file.exists() else None,
    }


def _ray(run: Run, live: Dashboard | None) -> list[str]:
    if live is None:
        return [
            "Ray          no cluster is running for this run; its dashboard is there while the study runs",
            f"             raypeft status {shlex.quote(str(run.folder))} tells how far it has come",
        ]
    port = live.url.rsplit(":", 1)[-1]
    tunnel = f"ssh -L {port}:localhost:{port} {live.host}"
    if live.is_here and not live.asks_for_token():
        return [
            f"Ray          {live.url}",
            "             it asks for no token (RAY_AUTH_MODE=disabled)",
            f"             elsewhere: {tunnel}",
        ]
    away = "from another machine" if live.is_here else f"the study runs on {live.host}; from here"
    secret = None
    if not live.is_here:
        token = f"that of the study on {live.host}"
    elif live.token_file and live.token():
        token = f"cat {shlex.quote(live.token_file)}"
        secret = f"$({token})"
    else:
        token, secret = "that of RAY_AUTH_TOKEN where the study was started", "$RAY_AUTH_TOKEN"
    call = f'             curl -H "Authorization: Bearer {secret}" {live.url}/api/version'
    return [
        f"Ray          {live.url}",
        f"             {away}: {tunnel}",
        f"Token        the page asks for one, once a browser: {token}",
        *([call] if secret else []),
        f"Trials       {live.url}/#/actors lists those that run by their names; their logs hold the reports",
    ]


def _others(run: Run) -> list[str]:
    lines = []
    for name, module, command, path in (
        ("TensorBoard", "tensorboard", "tensorboard --logdir", run.tensorboard_folder),
        ("Optuna", "optuna_dashboard", "optuna-dashboard", run.optuna_file),
    ):
        if not path.exists():
            lines.append(f"{name:<12} nothing has been written yet")
            continue
        missing = "" if importlib.util.find_spec(module) else f"   (needs: {EXTRA})"
        lines.append(f"{name:<12} {command} {shlex.quote(str(path))}{missing}")
    return lines
