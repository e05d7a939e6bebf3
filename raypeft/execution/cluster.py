"""Starting Ray on this machine, or joining a running cluster."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from raypeft.execution import temporary
from raypeft.execution.environment import WORKING_DIRECTORY, closed
from raypeft.execution.interruption import Interruption
from raypeft.execution.processes import kill
from raypeft.execution.progress import Progress

OBJECT_STORE = 256 * 2**20
HERE = "127.0.0.1"
_killed = threading.Event()  # whether Ray was killed in this process, and does not know it yet


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

    Raises:
        UserError: there is no place for that folder.
    """
    progress.say("Starting Ray" if address is None else f"Joining the Ray cluster at {address}")
    folder = temporary.make()
    try:
        keep(folder)
        with closed(address, folder, progress.plan.resolved.variables):
            yield from _running(address, folder, progress, interruption)
    finally:
        temporary.remove(folder)


def _running(address: str | None, folder: Path, progress: Progress, interruption: Interruption) -> Iterator[str | None]:
    import ray  # in the environment that it is to have

    from raypeft.execution.memory_kills import take_memory_kills_for_deaths

    take_memory_kills_for_deaths()
    try:
        try:
            context = _start(address, folder)
        except (KeyboardInterrupt, SystemExit):
            # SystemExit comes from the handler of SIGTERM that Ray installs first of all. Half started, it can crash
            # when it is shut down; nothing has been given to it yet.
            interruption.end_at_once()
        interruption.install()
        temporary.record(folder)
        if address is None and ray.util.get_node_ip_address() != HERE:
            progress.say("Ray was imported before the study, and listens on this machine's other addresses as well")
        yield context.dashboard_url
    except KeyboardInterrupt:
        if address is None:
            # Faster than Ray's own end, during which a further SIGTERM would kill this process before it has cleaned up
            temporary.record(folder)
            kill(temporary.processes(folder))
            _killed.set()
            interruption.abrupt = True
        raise
    finally:
        temporary.record(folder)  # what was started since, which Ray's end may leave behind
        if not interruption.abrupt:
            ray.shutdown()
            interruption.install()


def _start(address: str | None, folder: Path) -> Any:
    """Start or join Ray from within the temporary folder.

    Ray has workers import from where the driver is when it starts: not from the user's working directory.
    """
    import ray

    if _killed.is_set():
        ray.shutdown()  # what is left of an interrupted run in this process
        _killed.clear()
    directory = os.getcwd()
    with chdir(folder):
        if address is not None:
            return ray.init(
                address=address,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": {WORKING_DIRECTORY: directory}},
            )
        return ray.init(
            address="local",
            log_to_driver=False,
            logging_level="ERROR",
            include_dashboard=True,
            dashboard_host=HERE,
            object_store_memory=OBJECT_STORE,
            _temp_dir=str(folder / temporary.RAY),
        )
