"""Starting Ray on this machine, or joining a running cluster."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", "10")
os.environ.setdefault("RAY_task_oom_retries", "0")  # without end by default; raypeft.sweep.faults deals with it
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # raypeft.interruption takes all signals
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # relative folders of a study hold in workers too
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # raypeft.sweep.tensorboard takes TBX's place
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")  # one line says it; Tune keeps the rest in error.txt
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own progress display is the only one

import ray

from raypeft import temporary
from raypeft.interruption import Interruption, kill_children
from raypeft.progress import Progress
from raypeft.sweep.faults import take_memory_kills_for_deaths

OBJECT_STORE = 256 * 2**20
TOKEN = "auth_token"


@contextmanager
def cluster(
    address: str | None, progress: Progress, interruption: Interruption, keep: Callable[[Path], None]
) -> Iterator[str | None]:
    """Ray for the duration of a run, shut down afterwards if started here; gives its dashboard's host and port.

    Args:
        address: a running cluster to join instead of starting Ray.
        progress: where to say so.
        interruption: takes the signals back that Ray takes when it starts.
        keep: is told the folder of Ray's sockets and logs, which is removed afterwards.
    """
    take_memory_kills_for_deaths()
    progress.say("Starting Ray" if address is None else f"Joining the Ray cluster at {address}")
    folder = None
    try:
        if address is None:
            folder = temporary.make()
            keep(folder)
            _bring_token(folder)
        try:
            context = _start(address, folder)
        except (KeyboardInterrupt, SystemExit):
            # SystemExit comes from the handler of SIGTERM that Ray installs first of all. Half started, it can crash
            # when it is shut down; nothing has been given to it yet.
            interruption.end_at_once()
        interruption.install()
        yield context.dashboard_url
    except KeyboardInterrupt:
        if folder is not None:
            # Faster than Ray's own end, during which a further SIGTERM would kill this process before it has cleaned up
            kill_children()
            interruption.abrupt = True
        raise
    finally:
        if not interruption.abrupt:
            ray.shutdown()
            interruption.install()
        if folder is not None:
            temporary.remove(folder)


def _start(address: str | None, folder: Path | None) -> ray.client_builder.ClientContext:
    if address is not None:
        return ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    return ray.init(
        address="local",
        log_to_driver=False,
        logging_level="ERROR",
        include_dashboard=True,
        object_store_memory=OBJECT_STORE,
        _temp_dir=str(folder),
    )


def _bring_token(folder: Path) -> None:
    """A token for Ray's dashboard where the user has none, which Ray would otherwise leave in his home."""
    known = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if known or os.environ.get("RAY_AUTH_MODE") or (Path.home() / ".ray" / TOKEN).exists():
        return
    path = folder / TOKEN
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32), encoding="ascii")
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(path)
