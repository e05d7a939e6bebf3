"""A worker's GPU: whether torch can use it, and the worker's share of it."""

import warnings

import torch

from raypeft.estimate.memory import CUDA_CONTEXT, GIB

SLACK = 0.05
POLLS, SECONDS_BETWEEN = 12, 5


def gpu_fault() -> str | None:
    """Why torch cannot compute on the GPU of this process, of which others say that it is there; none where it can.

    Without this question a build of torch that does not suit the driver would quietly train on the CPU.
    """
    build = f"torch {torch.__version__} ({build_of_torch()})"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        return ": ".join([f"{build} finds no GPU that it can use", *(str(one.message) for one in said)])
    try:
        torch.ones(1, device="cuda").add(1).item()
    except RuntimeError as error:
        return f"{build} cannot compute on the GPU: {str(error).splitlines()[0]}"
    return None


def build_of_torch() -> str:
    """What the installed torch was built for."""
    return f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"


def limit_gpu_memory(gib: float | None) -> None:
    """Let this process take no more of its GPU than a card of `gib` GiB would give it; nothing means the whole card.

    What CUDA itself takes on such a card is left free (`torch.cuda.set_per_process_memory_fraction` counts only what
    torch allocates). Without a GPU nothing happens.
    """
    if gib is None or not torch.cuda.is_available():
        return
    total = torch.cuda.get_device_properties().total_memory
    torch.cuda.set_per_process_memory_fraction(memory_fraction(gib, total))


def memory_fraction(gib: float, total: int) -> float:
    """Share of a GPU with `total` bytes that torch may allocate so that a card of `gib` GiB would do."""
    return min(1.0, max(0.0, gib * GIB - CUDA_CONTEXT) / total)


def await_free_gpu(share: float) -> bool:
    """Wait until others have left `share` of this worker's GPU, a minute at most (`ray.tune.utils.wait_for_gpu`).

    A worker that was stopped may hold its memory for some seconds after its GPU was given to the next. Waiting needs
    Ray and the package GPUtil; where one of them is missing, or the memory stays taken, work goes on and running out
    of memory shows itself.

    Returns:
        Whether the memory is known to be free.
    """
    if not torch.cuda.is_available():
        return False
    import ray
    from ray.tune.utils import wait_for_gpu

    if not ray.is_initialized():
        return False
    own = torch.cuda.memory_reserved() + CUDA_CONTEXT
    used = own / torch.cuda.get_device_properties().total_memory
    try:
        return bool(wait_for_gpu(target_util=1 - share + used + SLACK, retry=POLLS, delay_s=SECONDS_BETWEEN))
    except (RuntimeError, ValueError):
        return False
