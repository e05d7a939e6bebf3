"""Estimated against measured peak memory of a trial, in training and in decoding.

    python benchmarks/memory.py                      # models of random weights, on a GPU Code Llama 7B among them
    python benchmarks/memory.py --model FOLDER       # a model of your own
    python benchmarks/memory.py --grid small         # a few, in a minute

Every trial runs in a process of its own: the paper's point of a technique, items that all reach the token limits, two
steps of training and a beam search over eight items before and after. On a GPU the measured numbers are what torch
allocated, to which CUDA's own is added; on a CPU the resident memory of the process. `framework` is what the process
had before the model was loaded: estimates take a constant for it, so that the last two columns also compare without.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MIB = 2**20
DATA = "prompt {index} " + "sort the list of names by their last letter and then reverse it " * 12
CODE = "result = sorted(names, key=lambda name: name[-1], reverse=True) if names else [] " * 12
LLAMA = "LlamaConfig"
CODEGEN = "CodeGenConfig"
T5 = "T5Config"

# name: configuration class of transformers and its arguments
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-48m": (LLAMA, {"vocab_size": 16000, "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 10,
                          "num_attention_heads": 8, "num_key_value_heads": 8}),
    "llama-110m": (LLAMA, {"vocab_size": 32000, "hidden_size": 640, "intermediate_size": 1728, "num_hidden_layers": 14,
                           "num_attention_heads": 10, "num_key_value_heads": 10}),
    "llama-gqa-160m": (LLAMA, {"vocab_size": 49152, "hidden_size": 768, "intermediate_size": 2048,
                               "num_hidden_layers": 16, "num_attention_heads": 12, "num_key_value_heads": 4,
                               "tie_word_embeddings": True}),
    "codegen-130m": (CODEGEN, {"vocab_size": 32000, "n_embd": 640, "n_layer": 16, "n_head": 8, "rotary_dim": 32,
                               "n_positions": 512, "n_ctx": 512, "bos_token_id": None, "eos_token_id": 1}),
    "t5-150m": (T5, {"vocab_size": 32000, "d_model": 640, "d_ff": 2560, "num_layers": 10, "num_decoder_layers": 10,
                     "num_heads": 10, "d_kv": 64, "decoder_start_token_id": 0}),
    "code-llama-7b": (LLAMA, {"vocab_size": 32016, "hidden_size": 4096, "intermediate_size": 11008,
                              "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32}),
}  # fmt: skip
GRIDS: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
    "small": [
        ("llama-110m", "lora", ()),
        ("t5-150m", "full", ()),
    ],
    "cpu": [
        ("codegen-130m", "lora", ()),
        ("llama-gqa-160m", "lora", ()),
        ("llama-110m", "qlora_4bit", ()),
        ("t5-150m", "lora", ()),
        ("t5-150m", "full", ()),
        ("llama-110m", "full", ()),
        ("llama-110m", "lora", ("training.gradient_checkpointing=true",)),
        ("llama-110m", "qlora_8bit", ()),
        ("codegen-130m", "full", ()),
        ("llama-110m", "lora", ("training.precision=bf16",)),
        ("llama-110m", "full", ("training.optimizer=adamw_torch", "training.micro_batch=2")),
        ("t5-150m", "prefix_tuning", ()),
        ("llama-110m", "lora", ()),
        ("llama-110m", "ia3", ()),
        ("llama-110m", "prompt_tuning", ()),
        ("llama-110m", "prefix_tuning", ()),
        ("llama-110m", "lora", ("training.attention=eager",)),
        ("llama-110m", "dora", ()),
    ],
    "gpu": [
        ("code-llama-7b", "lora", ()),
        ("code-llama-7b", "qlora_4bit", ()),
        ("code-llama-7b", "qlora_8bit", ()),
        ("code-llama-7b", "lora", ("training.gradient_checkpointing=true",)),
        ("code-llama-7b", "ia3", ()),
        ("code-llama-7b", "prefix_tuning", ()),
        ("codegen-130m", "full", ()),
        ("t5-150m", "full", ()),
    ],
}  # fmt: skip


def main() -> None:
    """Measure a grid and print a line a trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", choices=GRIDS, help="default: gpu where there is one, else cpu")
    parser.add_argument("--model", type=Path, help="a model folder instead of the grid's")
    parser.add_argument("--techniques", nargs="+", default=["lora"], help="with --model")
    parser.add_argument("--set", nargs="*", default=[], help="further settings of the study")
    parser.add_argument("--trial", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.trial:
        print(json.dumps(measure(**json.loads(asked.trial))))
        return
    with tempfile.TemporaryDirectory() as work:
        if asked.model:
            grid = [(str(asked.model), technique, ()) for technique in asked.techniques]
        else:
            grid = GRIDS[asked.grid or default_grid()]
        print(
            "model            technique      settings                     phase      estimated  measured    error "
            "| framework  without it  most by"
        )
        for model, technique, settings in grid:
            for line in lines(model, technique, (*settings, *asked.set), Path(work)):
                print(line, flush=True)


def default_grid() -> str:
    """`gpu` where torch sees one."""
    return run("import torch; print('gpu' if torch.cuda.is_available() else 'cpu')").strip()


def lines(model: str, technique: str, settings: tuple[str, ...], work: Path) -> list[str]:
    """Two lines: training and decoding."""
    folder = Path(model) if Path(model).is_dir() else work / model
    found = trial(folder, technique, settings, work)
    rows = []
    for phase in ("training", "decoding"):
        estimated, measured = found["estimated"][phase], found["measured"][phase]
        bare_estimate = estimated - found["framework_estimated"]
        bare = measured - found["framework"]
        rows.append(
            f"{folder.name[:16]:16} {technique:14} {' '.join(settings)[:28]:28} {phase:9} {estimated:10.0f} "
            f"{measured:9.0f} {estimated / measured - 1:8.1%} | {found['framework']:9.0f} "
            f"{bare_estimate / bare - 1:11.1%}  {found['largest']}"
        )
    return rows


def trial(folder: Path, technique: str, settings: tuple[str, ...], work: Path) -> dict[str, Any]:
    """Measure one trial in a fresh process; a model of `MODELS` is made first, in another."""
    if not folder.is_dir():
        run(
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import memory; "
            f"memory.make({folder.name!r}, {str(folder)!r})"
        )
    data = work / "data"
    write_data(data)
    arguments = {"model": str(folder), "technique": technique, "settings": list(settings), "data": str(data)}
    arguments["output"] = str(work / "trial")
    command = [sys.executable, __file__, "--trial", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def run(code: str) -> str:
    """Output of Python code in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def make(name: str, folder: str) -> None:
    """Save a model of random weights with the tokenizer of the tiny decoder."""
    import torch
    import transformers

    from raypeft.spec.loading import PACKAGE

    kind, arguments = MODELS[name]
    config = getattr(transformers, kind)(**arguments)
    auto = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        auto.from_config(config, dtype=torch.bfloat16 if device == "cuda" else torch.float32).save_pretrained(folder)
    tokenizer = PACKAGE / "embedded" / "models" / "tiny-decoder"
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (Path(folder) / file).write_bytes((tokenizer / file).read_bytes())


def write_data(folder: Path) -> None:
    """Items that all reach the token limits."""
    folder.mkdir(exist_ok=True)
    for split, items in (("train", 16), ("validation", 8), ("test", 8)):
        rows = [json.dumps({"nl": DATA.format(index=index), "cmd": CODE}) + "\n" for index in range(items)]
        (folder / f"{split}.jsonl").write_text("".join(rows))


def measure(model: str, technique: str, settings: list[str], data: str, output: str) -> dict[str, Any]:
    """Train and decode with one model, and compare with the estimate; MiB."""
    import shutil

    import torch

    from raypeft.modeling.gpu import limit_gpu_memory
    from raypeft.modeling.loading import study_base
    from raypeft.modeling.memory import peak_mib, reset_peak
    from raypeft.spec.footprint import footprint
    from raypeft.spec.memory import CUDA_CONTEXT, FRAMEWORK
    from raypeft.spec.plan import Plan
    from raypeft.spec.resolve import resolve
    from raypeft.training.data import trial_data
    from raypeft.training.trial import train

    torch.set_num_threads(1)
    gpu = torch.cuda.is_available()
    shutil.rmtree(output, ignore_errors=True)
    plan = Plan(
        resolve(
            "quickstart",
            settings=[
                f"models=[{model}]",
                "datasets=[long]",
                f"catalogue.datasets.long={{title: L, folder: {data}, max_prompt_tokens: 64, max_code_tokens: 64}}",
                f"techniques=[{technique}]",
                "mode=paper",
                "data={seed: 42}",
                "icl=null",
                "training={epochs: 1, evaluate_every: 1, batch: 8}",
                "validation.em_items=8",
                "test.decode_batch=8",
                *settings,
            ],
        )
    )
    cell = plan.cells[0]
    limit_gpu_memory(plan.resolved.study.resources.gpu_memory_gb)
    reset_peak()
    framework = CUDA_CONTEXT / MIB if gpu else peak_mib()
    base = study_base(plan.resolved, cell)
    reports: list[dict[str, Any]] = []
    spec = plan.resolved.techniques[cell.technique]
    train(plan, base, trial_data(plan, base, "long"), spec, spec.paper, Path(output), reports.append)
    last = reports[-1]
    if last.get("end") != "finished":
        raise RuntimeError(f"the trial ended as {last.get('end')}")
    found = footprint(plan, cell)
    assert found is not None
    context = CUDA_CONTEXT / MIB if gpu else 0.0
    return {
        "estimated": {
            "training": sum(found.estimate.training.values()) / MIB,
            "decoding": sum(found.estimate.decoding.values()) / MIB,
        },
        "terms": {"training": found.estimate.training, "decoding": found.estimate.decoding},
        "measured": {phase: last[f"{phase}_memory_mib"] + context for phase in ("training", "decoding")},
        "framework": framework,
        "framework_estimated": FRAMEWORK["gpu" if gpu else "cpu"] / MIB,
        "largest": found.estimate.largest,
    }


if __name__ == "__main__":
    main()
