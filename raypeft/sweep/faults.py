"""Faults of a trial that are not of its own making."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raypeft.execution.memory_kills import is_memory_kill


def is_hub_silent(error: BaseException) -> bool:
    """Whether the model hub did not answer, which it may do the next time."""
    from raypeft.hub import HubError

    return any(isinstance(one, HubError) and one.cause in ("unreachable", "slow", "cut") for one in _chain(error))


def is_poisoned(error: BaseException) -> bool:
    """Whether CUDA has failed in a way after which every further call in this process fails as well.

    torch says so with a type of its own, but what cuBLAS and older calls report is a plain RuntimeError with this text.
    """
    import torch

    from raypeft.modeling.memory import is_out_of_memory

    return any(
        isinstance(one, torch.AcceleratorError) or (type(one) is RuntimeError and str(one).startswith("CUDA error: "))
        for one in _chain(error)
        if not is_out_of_memory(one)
    )


def death_of(trial: Any) -> BaseException | None:
    """What Ray says of the last death of a trial's worker, none where it says nothing.

    Read where Tune writes it first: `Trial.get_pickled_error` looks in the run folder, to which it is copied later.
    """
    try:
        return pickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:  # no file, or an error that is not made to be pickled; Tune has its text in error.txt
        return None


def in_a_line(error: BaseException | None) -> str:
    """Why a worker died, in a line; of what was raised in the worker without Ray's traceback."""
    text = str(getattr(error, "cause", None) or error or "no more is known").strip()
    if is_memory_kill(error) and (memory := re.search(r"was (\S+) used / (\S+) limit", text)):
        return f"Ray killed it: {memory[1]} of its machine's {memory[2]} of memory were in use"
    return text.splitlines()[0].rstrip(".: ")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
