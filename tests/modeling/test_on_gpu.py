"""What only a real GPU can show: its limit, memory of another process, precisions, a trial that runs out of memory."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from raypeft.estimate.memory import GIB
from raypeft.modeling import memory
from raypeft.modeling.loading import Base, load_base
from raypeft.modeling.memory import give_back, is_out_of_memory
from raypeft.spec.plan import Plan
from raypeft.training.data import trial_data
from raypeft.training.trial import train
from tests.said import Said

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@pytest.fixture(autouse=True)
def whole_card() -> Iterator[None]:
    yield
    give_back()
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_no_more_is_given_than_the_limit() -> None:
    memory.limit_gpu_memory(2)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(2 * GIB, dtype=torch.uint8, device="cuda")
    assert is_out_of_memory(caught.value)
    assert torch.empty(GIB, dtype=torch.uint8, device="cuda").is_cuda


def test_memory_of_another_process_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    pytest.importorskip("GPUtil")
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: ["0"])
    monkeypatch.setattr(memory, "SECONDS_BETWEEN", 1)
    size = int(0.5 * torch.cuda.get_device_properties().total_memory)
    code = (
        f"import time, torch; kept = torch.empty({size}, dtype=torch.uint8, device='cuda'); "
        "print('holds it', flush=True); time.sleep(6)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline().strip() == "holds it"
        monkeypatch.setattr(memory, "POLLS", 1)
        assert memory.await_free_gpu(1) is False
        monkeypatch.setattr(memory, "POLLS", 30)
        assert memory.await_free_gpu(1) is True
        assert holder.wait(10) == 0


def reports_of(plan: Plan, base: Base, technique: str, folder: Path) -> list[dict[str, Any]]:
    reports = Said()
    spec = plan.resolved.techniques[technique]
    train(
        plan,
        base,
        trial_data(plan, base, "snippets"),
        spec,
        spec.paper,
        folder,
        reports.hear,
    )
    return reports


@pytest.mark.parametrize("precision", ["auto", "fp16"])
@pytest.mark.parametrize("technique", ["lora", "qlora_4bit", "qlora_8bit", "prefix_tuning", "full"])
@pytest.mark.parametrize("model", ["tiny-decoder", "tiny-encoder-decoder"])
def test_a_trial_learns_in_half_precision(
    matrix: Plan, model: str, technique: str, precision: Any, tmp_path: Path
) -> None:
    quantization = matrix.resolved.techniques[technique].quantization
    base = load_base(model, matrix.resolved.models[model], precision, quantization=quantization)
    wide = model == "tiny-encoder-decoder" and precision == "fp16"
    half = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    assert base.dtype == (torch.float32 if wide else half if precision == "auto" else torch.float16)
    reports = reports_of(matrix, base, technique, tmp_path)
    assert reports[-1]["end"] == "finished"
    assert reports[-1]["validation_loss"] < reports[0]["validation_loss"]
    assert reports[-1]["training_memory_mib"] > 0 and reports[-1]["decoding_reserved_mib"] > 0
