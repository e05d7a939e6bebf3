"""A worker loads bitsandbytes for a study that quantises, and for no other; it sees the GPU that it has reserved."""

import os
import subprocess
import sys

import pytest
import ray

from raypeft.modeling.omission import omit_gpus

CALL = """
import sys
from raypeft.modeling.omission import omit_bitsandbytes
from raypeft.spec.resolve import resolve
omit_bitsandbytes(resolve("quickstart", settings=[f"techniques=[{sys.argv[1]}]"]))
import peft
from raypeft.modeling.precision import has_bitsandbytes
print(has_bitsandbytes(), sys.modules.get("bitsandbytes") is not None)
"""


@pytest.mark.parametrize(("techniques", "loaded"), [("lora, ia3", False), ("lora, qlora_4bit", True)])
def test_bitsandbytes_is_loaded_where_weights_are_quantised(techniques: str, loaded: bool) -> None:
    done = subprocess.run([sys.executable, "-c", CALL, techniques], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(loaded)] * 2


COLLECT = """
import gc
from raypeft.modeling.omission import omit_from_garbage
try:
    with omit_from_garbage():
        libraries = [[] for _ in range(1000)]
        print(gc.isenabled())
        raise ImportError
except ImportError:
    later = [[] for _ in range(1000)]
print(gc.isenabled(), gc.get_freeze_count() >= 1000, any(one is libraries for one in gc.get_objects()))
print(any(one is later for one in gc.get_objects()))
"""


def test_collections_leave_out_what_was_loaded_and_nothing_that_came_later() -> None:
    done = subprocess.run([sys.executable, "-c", COLLECT], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "True", "True", "False", "True"], done.stderr


@pytest.mark.parametrize(("reserved", "seen"), [(1, "0"), (0.5, "0"), (0, "")])
def test_an_actor_sees_the_gpu_that_it_has_reserved_and_no_other(ray_session: None, reserved: float, seen: str) -> None:
    """Ray's own part is to show the reserved one; without a reservation it leaves all of a machine's GPUs in sight."""

    @ray.remote(num_cpus=0, num_gpus=reserved)
    class Worker:
        def devices(self) -> str:
            if not reserved:
                os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
            omit_gpus()
            return os.environ["CUDA_VISIBLE_DEVICES"]

    worker = Worker.remote()  # type: ignore[attr-defined]
    assert ray.get(worker.devices.remote()) == seen
    ray.kill(worker)


def test_outside_of_ray_nothing_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    omit_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
