"""Estimated against measured peak memory of a trial, in training and in decoding.

    python -m benchmarks.memory                      # models of random weights, on a GPU Code Llama 7B among them
    python -m benchmarks.memory --model FOLDER       # a model of your own
    python -m benchmarks.memory --grid small         # a few, in a minute
    python -m benchmarks.memory --grid limits        # on a GPU: whether what the plan says fits a smaller card does

Every trial runs in a process of its own: the paper's point of a technique, items that all reach the token limits, two
steps of training and a beam search over two batches of eight items before and after. On a GPU the measured numbers are
what torch allocated, to which CUDA's own is added; on a CPU the resident memory of the process. `framework` is what the
process had before the model was loaded: estimates take a constant for it, so that the last two columns also compare
without.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.memory_grids import GRIDS, MODELS

MIB = 2**20
ROOT = Path(__file__).parents[1]
DATA = "prompt {index} " + "sort the list of names by their last letter and then reverse it " * 12
CODE = "result = sorted(names, key=lambda name: name[-1], reverse=True) if names else [] " * 12
HEADING = (
    "model            technique      settings                     phase      estimated  measured    error "
    "| framework  without it  most by"
)
LIMITS_HEADING = "model            technique      settings                     plan says               came to"


def main() -> None:
    """Measure a grid and print a line a trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", choices=GRIDS, help="default: gpu where there is one, else cpu")
    parser.add_argument("--model", type=Path, help="a model folder instead of the grid's")
    parser.add_argument("--techniques", nargs="+", help="of the grid only these; with --model, default: lora")
    parser.add_argument("--set", nargs="*", default=[], help="further settings of the study")
    parser.add_argument("--made", type=Path, help="folder in which the grid's models are kept for the next time")
    parser.add_argument("--trial", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.trial:
        print(json.dumps(measure(**json.loads(asked.trial))))
        return
    with tempfile.TemporaryDirectory() as work:
        if asked.model:
            grid = [(str(asked.model), technique, ()) for technique in asked.techniques or ["lora"]]
        else:
            grid = GRIDS[asked.grid or default_grid()]
            grid = [row for row in grid if row[1] in (asked.techniques or [row[1]])]
        limits = asked.grid == "limits"
        print(LIMITS_HEADING if limits else HEADING)
        for model, technique, settings in grid:
            folder = Path(model) if Path(model).is_dir() else (asked.made or Path(work)) / model
            found = trial(folder, technique, (*settings, *asked.set), Path(work))
            for line in (limit_lines if limits else lines)(folder.name, technique, (*settings, *asked.set), found):
                print(line, flush=True)


def default_grid() -> str:
    """`gpu` where torch sees one."""
    return run("-c", "import torch; print('gpu' if torch.cuda.is_available() else 'cpu')").strip()


def lines(model: str, technique: str, settings: tuple[str, ...], found: dict[str, Any]) -> list[str]:
    """Two lines: training and decoding."""
    if found["came_to"] == "oom":
        raise RuntimeError(f"{model} {technique}: out of memory")
    rows = []
    for phase in ("training", "decoding"):
        estimated, measured = found["estimated"][phase], found["measured"][phase]
        bare_estimate = estimated - found["framework_estimated"]
        bare = measured - found["framework"]
        rows.append(
            f"{model[:16]:16} {technique:14} {' '.join(settings)[:28]:28} {phase:9} {estimated:10.0f} "
            f"{measured:9.0f} {estimated / measured - 1:8.1%} | {found['framework']:9.0f} "
            f"{bare_estimate / bare - 1:11.1%}  {found['largest']}"
        )
    return rows


def limit_lines(model: str, technique: str, settings: tuple[str, ...], found: dict[str, Any]) -> list[str]:
    """One line: what the plan says of a limit, and what a trial under it came to."""
    words = " ".join(settings).replace("resources.gpu_memory_gb", "GiB")
    verdict = "  WRONG" if found["came_to"] == "oom" and found["fits"] != "no" else ""
    return [f"{model[:16]:16} {technique:14} {words[:28]:28} {found['fits']:23} {found['came_to']}{verdict}"]


def trial(folder: Path, technique: str, settings: tuple[str, ...], work: Path) -> dict[str, Any]:
    """Measure one trial in a fresh process; a model of `MODELS` is made first, in another."""
    if not folder.is_dir():
        run("-c", f"from benchmarks.memory import make; make({folder.name!r}, {str(folder)!r})")
    data = work / "data"
    write_data(data)
    arguments = {"model": str(folder), "technique": technique, "settings": list(settings), "data": str(data)}
    arguments["output"] = str(work / "trial")
    return json.loads(run("-m", "benchmarks.memory", "--trial", json.dumps(arguments)).splitlines()[-1])


def run(*arguments: str) -> str:
    """Output of Python in a process of its own."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def make(name: str, folder: str) -> None:
    """Save a model of random weights in half precision, as published ones are, with the tiny decoder's tokenizer."""
    import torch
    import transformers

    from raypeft.spec.loading import PACKAGE

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


def measure(model: str, technique: str, settings: list[str], data: str, output: str) -> dict[str, Any]:
    """Train and decode with one model, and compare with the estimate; MiB."""
    import shutil
    from contextlib import suppress

    from raypeft.modeling.heap import map_large_blocks
    from raypeft.modeling.omission import omit_bitsandbytes
    from raypeft.spec.footprint import footprint
    from raypeft.spec.memory import BITSANDBYTES, CUDA_CONTEXT, FRAMEWORK, Device
    from raypeft.spec.plan import Plan
    from raypeft.spec.resolve import resolve

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
                "validation.em_items=16",
                "test.decode_batch=8",
                *settings,
            ],
        )
    )
    map_large_blocks()  # as a worker does
    omit_bitsandbytes(plan.resolved)

    import torch

    from raypeft.modeling.gpu import limit_gpu_memory
    from raypeft.modeling.loading import study_base
    from raypeft.modeling.memory import peak_mib, reset_peak
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
        # Without an entry a model's module lists are peft's, which the estimate does not know.
        plan.resolved.models[cell.model].targets.update(base.targets)
        train(plan, base, trial_data(plan, base, "long"), spec, spec.paper, Path(output), reports.append)
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
        "framework_estimated": (FRAMEWORK[device] + (BITSANDBYTES[device] if spec.quantization else 0)) / MIB,
        "largest": found.estimate.largest,
        "fits": found.fits,
        "came_to": "oom" if end == "oom" else f"micro-batch {last['micro_batch']}, decode batch {last['decode_batch']}",
    }


if __name__ == "__main__":
    main()
