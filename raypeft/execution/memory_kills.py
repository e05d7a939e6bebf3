"""Workers that Ray's memory monitor kills, made to count as workers that died.

Ray raises `OutOfMemoryError` for them, which is no `RayActorError`, so that Tune would end the whole search with
"Caught unexpected exception" (Ray 2.60, `RayActorManager._actor_task_failed`), and there is no setting for it.
Superfluous once `ray.exceptions.OutOfMemoryError` is a `RayActorError`.
"""


def is_memory_kill(error: object) -> bool:
    """Whether Ray's memory monitor has killed a worker, because nearly all of its machine's memory was in use."""
    from ray.exceptions import OutOfMemoryError

    return isinstance(error, OutOfMemoryError)


def take_memory_kills_for_deaths() -> None:
    """Have Ray Tune see a worker that the memory monitor has killed as one that died, which it is."""
    from ray.exceptions import OutOfMemoryError, RayActorError

    if not issubclass(OutOfMemoryError, RayActorError):
        OutOfMemoryError.__bases__ = (RayActorError,)  # a TypeError where Ray's classes are no longer alike
        for name, value in vars(RayActorError()).items():  # what its own `__init__` does not set
            setattr(OutOfMemoryError, name, value)
