"""Loss of LoRA and of QLoRA in 8 and 4 bits after the same steps, on a model and data of yours.

    python benchmarks/qlora.py MODEL DATA --steps 50 --items 128

MODEL is a folder that transformers loads, DATA one with train.jsonl, validation.jsonl and test.jsonl whose lines hold
"nl" and "cmd". All three train the paper's point on the same items in the same order.
"""

import argparse
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from raypeft.modeling.loading import load_base
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from raypeft.training.data import trial_data
from raypeft.training.trial import train

TECHNIQUES = ("lora", "qlora_8bit", "qlora_4bit")


def plan_of(options: argparse.Namespace) -> Plan:
    """A study of the three techniques with one report, after the last step."""
    epochs = options.steps * options.batch / options.items
    return Plan(
        resolve(
            "quickstart",
            settings=[
                "mode=paper",
                "models=[own]",
                "datasets=[own]",
                f"techniques=[{', '.join(TECHNIQUES)}]",
                f"catalogue.models.own={{title: {options.model.name}, folder: '{options.model.resolve()}'}}",
                f"catalogue.datasets.own={{title: Own, folder: '{options.data.resolve()}', stop_strings: ['\\n']}}",
                f"data={{train: {options.items}, validation: {options.validation}, test: 1}}",
                f"training={{epochs: {epochs}, evaluate_every: {epochs}, batch: {options.batch}, "
                f"precision: {options.precision}}}",
                "validation.em_items=1",
                "test={beams: 2, candidates: 1}",
                "icl=null",
            ],
        )
    )


def reports_of(plan: Plan, technique: str) -> list[dict[str, Any]]:
    """Train one technique from the base; a report before the first step and one after the last."""
    spec = plan.resolved.techniques[technique]
    precision = plan.resolved.study.training.precision
    base = load_base("own", plan.resolved.models["own"], precision, quantization=spec.quantization)
    reports: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        point = plan.resolved.points[technique]
        train(
            plan,
            base,
            trial_data(plan, base, "own"),
            spec,
            point,
            Path(folder),
            lambda said: reports.append(said.content()),
        )
    return reports


def main() -> None:
    """Train with each technique and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--items", type=int, default=128, help="training items")
    parser.add_argument("--validation", type=int, default=64, help="validation items")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, help="of torch")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message="MatMul8bitLt")
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    plan = plan_of(options)
    print(f"{'technique':12}{'loss before':>12}{'loss after':>12}{'to LoRA':>9}{'seconds':>9}{'trainable':>11}")
    lora = None
    for technique in TECHNIQUES:
        first, last = reports_of(plan, technique)
        lora = lora or last["validation_loss"]
        print(
            f"{technique:12}{first['validation_loss']:12.4f}{last['validation_loss']:12.4f}"
            f"{last['validation_loss'] / lora - 1:9.2%}{last['training_seconds']:9.0f}"
            f"{last['trainable_parameters']:11,}",
            flush=True,
        )


if __name__ == "__main__":
    main()
