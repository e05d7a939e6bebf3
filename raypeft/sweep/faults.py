"""Faults of a trial that are not of its own making."""

from collections.abc import Iterator


def is_hub_silent(error: BaseException) -> bool:
    """Whether the model hub did not answer, which it may do the next time."""
    from raypeft.hub import HubError

    return any(isinstance(one, HubError) and one.cause in ("unreachable", "slow", "cut") for one in _chain(error))


def is_poisoned(error: BaseException) -> bool:
    """Whether CUDA has failed in a way after which every further call in this process fails as well."""
    import torch

    return any(
        isinstance(one, torch.AcceleratorError) or "CUDA error" in str(one)
        for one in _chain(error)
        if not isinstance(one, torch.OutOfMemoryError)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
