"""Leaving out what a worker does not need; imported before torch and peft, and imports nothing large itself."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from raypeft.spec.resolve import ResolvedStudy


def omit_bitsandbytes(resolved: ResolvedStudy) -> None:
    """Keep peft from loading bitsandbytes in a worker of a study that quantises nothing.

    peft loads it wherever it is installed, which takes a third of the time that a worker needs to begin. A name that is
    None in `sys.modules` cannot be imported, and counts as not installed.
    """
    if all(technique.quantization is None for technique in resolved.techniques.values()):
        sys.modules.setdefault("bitsandbytes", None)  # type: ignore[arg-type]


@contextmanager
def omit_from_garbage() -> Iterator[None]:
    """Load libraries without looking for garbage meanwhile, and keep them out of every later look: they stay.

    Otherwise each full collection, of which a trial makes at least one, goes through all of torch and transformers,
    which takes some 0.3 seconds. Nothing that is to be freed later may have been made before.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


def omit_gpus() -> None:
    """Keep a Ray actor that has reserved no GPU from seeing any; to be called before CUDA is first asked for anything.

    Ray shows all GPUs of a machine to whoever has reserved none, so that trials of a study with
    `resources.gpus_per_trial: 0` would all share the first one.
    """
    import ray

    if ray.is_initialized() and ray.get_runtime_context().get_actor_id() and not ray.get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
