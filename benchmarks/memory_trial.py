"""One trial of `memory.py`, in a process of its own: its study, its model, and what it measures."""

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import raypeft.sweep.worker  # noqa: F401  what a worker has loaded takes memory too
from benchmarks.memory_grids import MODELS, TARGETS
from raypeft.estimate.footprint import footprint
from raypeft.estimate.memory import CUDA_CONTEXT, FRAMEWORK, MIB, Device
from raypeft.spec.loading import PACKAGE
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve

DATA = "prompt {index} " + "sort the list of names by their last letter and then reverse it " * 12
CODE = "result = sorted(names, key=lambda name: name[-1], reverse=True) if names else [] " * 12


def make(name: str, folder: str) -> None:
    """Save a model of random weights in half precision, as published ones are, with the tiny decoder's tokenizer."""
    import torch
    import transformers

    kind, arguments = MODELS[name]
    config = getattr(transformers, kind)(**arguments)
    auto = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        auto.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer = PACKAGE / "embedded" / "models" / "tiny-decoder"
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (Path(folder) / file).write_bytes((tokenizer / file).read_bytes())


def write_data(folder: Path) -> None:
    """Items that all reach the token limits."""
    folder.mkdir(exist_ok=True)
    for split, items in (("train", 16), ("validation", 16), ("test", 8)):
        rows = [json.dumps({"nl": DATA.format(index=index), "cmd": CODE}) + "\n" for index in range(items)]
        (folder / f"{split}.jsonl").write_text("".join(rows))


def plan_of(model: str, technique: str, settings: list[str], data: str) -> Plan:
    """The study of one trial."""
    folder, entry = Path(model), {"title": "Made"}
    if folder.name in MODELS:
        entry["targets"] = TARGETS[MODELS[folder.name][0]]
    fields = ", ".join(f"{key}: {value}" for key, value in {**entry, "folder": f"'{folder}'"}.items())
    return Plan(
        resolve(
            "quickstart",
            settings=[
                "models=[made]",
                f"catalogue.models.made={{{fields}}}",
                "datasets=[long]",
                f"catalogue.datasets.long={{title: L, folder: '{data}', max_prompt_tokens: 64, max_code_tokens: 64}}",
                f"techniques=[{technique}]",
                "mode=paper",
                "data={seed: 42}",
                "icl=null",
                "training={epochs: 1, evaluate_every: 1, batch: 8}",
                "validation.em_items=16",
                "test.decode_batch=8",
                *settings,
            ],
        )
    )


def measure(model: str, technique: str, settings: list[str], data: str, output: str) -> dict[str, Any]:
    """Train and decode with one model, and compare with the estimate; MiB."""
    shutil.rmtree(output, ignore_errors=True)
    plan = plan_of(model, technique, settings, data)

    import torch

    from raypeft.modeling.loading import study_base
    from raypeft.modeling.memory import limit_gpu_memory, peak_mib, reset_peak
    from raypeft.training.data import trial_data
    from raypeft.training.trial import train

    torch.set_num_threads(1)
    gpu, cell = torch.cuda.is_available(), plan.cells[0]
    limit_gpu_memory(plan.resolved.study.resources.gpu_memory_gb)
    reset_peak()
    framework = CUDA_CONTEXT / MIB if gpu else peak_mib()
    spec, reports = plan.resolved.techniques[cell.technique], [{"end": "oom"}]
    with suppress(torch.OutOfMemoryError):
        base = study_base(plan.resolved, cell)
        train(
            plan,
            base,
            trial_data(plan, base, "long"),
            spec,
            spec.paper,
            Path(output),
            lambda said: reports.append(said.content()),
        )
    last = reports[-1]
    if (end := last.get("end", "oom")) not in ("finished", "oom"):
        raise RuntimeError(f"the trial ended as {end}")
    found = footprint(plan, cell)
    assert found is not None
    context = CUDA_CONTEXT / MIB if gpu else 0.0
    device: Device = "gpu" if gpu else "cpu"
    return {
        "estimated": {
            "training": sum(found.estimate.training.values()) / MIB,
            "decoding": sum(found.estimate.decoding.values()) / MIB,
        },
        "terms": {"training": found.estimate.training, "decoding": found.estimate.decoding},
        "measured": {phase: last.get(f"{phase}_memory_mib", 0) + context for phase in ("training", "decoding")},
        "framework": framework,
        "framework_estimated": FRAMEWORK[device] / MIB,
        "largest": found.estimate.largest,
        "fits": found.fits,
        "came_to": "oom" if end == "oom" else f"micro-batch {last['micro_batch']}, decode batch {last['decode_batch']}",
    }


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
