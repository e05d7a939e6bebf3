"""A worker's share of its GPU, with torch's and GPUtil's answers put in their place where there is no GPU."""

import sys
import warnings
from types import SimpleNamespace

import pytest
import ray
import torch

from raypeft.modeling import memory

GIB = 2**30


def test_the_share_leaves_room_for_cuda_itself() -> None:
    # 24 GiB less half a GiB, of 80
    assert memory.memory_fraction(24, 80 * GIB) == pytest.approx(23.5 / 80)
    assert memory.memory_fraction(100, 80 * GIB) == 1.0
    assert memory.memory_fraction(0.25, 80 * GIB) == 0.0


def test_a_driver_too_old_for_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch says it: in a warning, while it answers that there is no GPU."""

    def is_available() -> bool:
        warnings.warn("The NVIDIA driver on your system is too old (found version 12040)", stacklevel=1)
        return False

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    fault = memory.gpu_fault()
    assert fault is not None and fault.startswith(f"torch {torch.__version__} (built for CUDA 13.0) finds no GPU")
    assert fault.endswith("use: The NVIDIA driver on your system is too old (found version 12040)")


def test_a_gpu_that_torch_was_not_built_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def ones(*arguments: object, **further: object) -> None:
        raise torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device\nMore")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", ones)
    fault = memory.gpu_fault()
    assert fault is not None and fault.endswith(
        "GPU: CUDA error: no kernel image is available for execution on the device"
    )


def test_without_a_gpu_nothing_is_limited_or_waited_for() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    memory.limit_gpu_memory(24)
    assert memory.await_free_gpu(1) is False


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A GPU of 40 GiB of which this process holds one; the list holds the shares in use that GPUtil will report."""
    in_use: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: GIB // 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: SimpleNamespace(total_memory=40 * GIB))
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: ["0"])
    monkeypatch.setattr(memory, "SECONDS_BETWEEN", 0)

    def list_gpus() -> list[SimpleNamespace]:
        return [SimpleNamespace(id=0, uuid="GPU-0", memoryUtil=in_use[0] if len(in_use) == 1 else in_use.pop(0))]

    monkeypatch.setitem(sys.modules, "GPUtil", SimpleNamespace(getGPUs=list_gpus))
    return in_use


def test_memory_of_a_stopped_worker_is_waited_for(card: list[float]) -> None:
    card += [0.9, 0.9, 0.5, 0.02]
    assert memory.await_free_gpu(1) is True
    assert card == [0.02]


def test_memory_that_stays_taken_is_waited_for_in_vain(card: list[float]) -> None:
    card += [0.4]
    assert memory.await_free_gpu(1) is False
    # half a card is free beside a neighbour
    assert memory.await_free_gpu(0.5) is True


def test_without_gputil_work_goes_on(card: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "GPUtil", None)
    assert memory.await_free_gpu(1) is False


def test_the_limit_is_torchs(card: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", found.append)
    memory.limit_gpu_memory(None)
    assert found == []
    memory.limit_gpu_memory(24)
    assert found == pytest.approx([23.5 / 40])
