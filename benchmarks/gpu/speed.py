"""How much of the card training and decoding use, and decoding against one item at a time."""

import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.decoding import one_at_a_time
from benchmarks.gpu.made import base_of_cell, write_items
from benchmarks.gpu.peaks import plan_of
from benchmarks.gpu.rows import Row
from raypeft.decoding import BeamSettings, decode
from raypeft.modeling.memory import give_back
from raypeft.training.data import trial_data


def card(dry: bool) -> dict[str, float]:
    """Rates that the device reaches with a large matrix product (bf16) and a large copy."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 256 if dry else 8192
    one, other = (torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2))
    product = _seconds(lambda: one @ other)
    block = torch.empty(2**20 if dry else 2**32, dtype=torch.uint8, device=device)
    copy = _seconds(lambda: block.clone())
    return {"operations_per_second": 2 * size**3 / product, "bytes_per_second": 2 * block.numel() / copy}


def _seconds(work: Any, times: int = 10) -> float:
    for _ in range(3):
        work()
    _wait()
    started = time.perf_counter()
    for _ in range(times):
        work()
    _wait()
    return (time.perf_counter() - started) / times


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def decoding(model: str, technique: str, work: Path, dry: bool) -> dict[str, Any]:
    """Items a second of `decode` in batches and of one item at a time, on prompts of 64 tokens, 64 new ones."""
    write_items(work / "data", 16)
    plan = plan_of(Row(model, technique, ()), work / "data")
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(1.0)
    base = base_of_cell(plan, plan.cells[0])
    data = trial_data(plan, base, "long")
    prompts = (data.em_prompts * 4)[: 4 if dry else 32]
    new = 8 if dry else 64
    settings = BeamSettings(max_new_tokens=new, stop_strings=("\n",))
    weights = sum(weight.numel() * weight.element_size() for weight in base.model.parameters())
    found: dict[str, Any] = {"model": model, "technique": technique, "weight_bytes": weights}
    decode(base.model, base.tokenizer, prompts[:1], settings, batch_size=1)
    for size in (2,) if dry else (16,):
        _wait()
        started = time.perf_counter()
        decode(base.model, base.tokenizer, prompts, settings, batch_size=size)
        _wait()
        seconds = time.perf_counter() - started
        found[f"items_per_second_{size}"] = len(prompts) / seconds
        found[f"step_seconds_{size}"] = seconds / (len(prompts) / size * new)
    few = prompts[: 1 if dry else 3]
    started = time.perf_counter()
    with torch.no_grad():
        one_at_a_time(base.model, base.tokenizer, few, new)
    _wait()
    found["items_per_second_one_at_a_time"] = len(few) / (time.perf_counter() - started)
    del base
    give_back()
    return found
