"""Starting Ray on this machine, or joining a running cluster."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", "10")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # relative folders of a study hold in workers too
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # raypeft.sweep.tensorboard takes TBX's place
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own progress display is the only one

import ray

from raypeft.progress import Progress

OBJECT_STORE = 256 * 2**20


@contextmanager
def cluster(address: str | None, progress: Progress) -> Iterator[str | None]:
    """Ray for the duration of a run, shut down afterwards if started here; gives its dashboard's host and port."""
    progress.say("Starting Ray" if address is None else f"Joining the Ray cluster at {address}")
    if address is None:
        context = ray.init(
            address="local",
            log_to_driver=False,
            logging_level="ERROR",
            include_dashboard=True,
            object_store_memory=OBJECT_STORE,
        )
    else:
        context = ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    if context.dashboard_url:
        progress.say(f"Ray dashboard: http://{context.dashboard_url}")
    try:
        yield context.dashboard_url
    finally:
        ray.shutdown()
