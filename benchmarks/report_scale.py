"""Seconds and size of the report of a large run: 80 cells, 2,000 trials, test sets of the paper's sizes.

    python -m benchmarks.report_scale --folder /tmp/report-scale

Run from the checkout. The run is written as a sweep and its jobs write one, with points drawn from the techniques'
search spaces and curves, matches and candidates drawn from a seed; the figures are printed as JSON.
"""

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import optuna

from benchmarks.recording import Recorder
from raypeft.metrics.items import ItemScores, measure
from raypeft.output.files import write_lines, write_text
from raypeft.report import write
from raypeft.runs.folder import Run, scores_file
from raypeft.spec.resolve import resolve
from raypeft.sweep.searcher import distribution

MODELS = (
    "codet5p-220m",
    "codet5p-770m",
    "codegen-350m-mono",
    "codegen2-1b",
    "codegen2-3.7b",
    "codegen2-7b",
    "codellama-7b",
    "qwen2.5-coder-0.5b",
)
TECHNIQUES = ("lora", "ia3", "prompt_tuning", "prefix_tuning", "dora")
ITEMS = {"conala": 543, "codealpacapy": 628}
REPORTS = 26
SHARES = (0.04, 0.08, 0.12, 0.16, 0.2, 0.24)
WORDS = ["data", "rows", "values", "frame", "text", "name", "count", "index", "total", "first", "last", "list", "join"]


def code(draw: random.Random) -> str:
    """A made up line of Python."""
    a, b, c, d = draw.choices(WORDS, k=4)
    return f"{a} = [{b}.{c}({d}, key=lambda x: x[{draw.randrange(9)}]) for {b} in {d}s if {b} != '{c}_{a}']"


Tested = tuple[list[dict[str, Any]], ItemScores]


def tested(dataset: str, right: float, draw: random.Random) -> Tested:
    """Predictions of a test of which a share is right, and what their items score."""
    found = []
    for number in range(ITEMS[dataset]):
        reference = code(random.Random(f"{dataset}-{number}"))
        candidates = [code(draw) for _ in range(10)]
        if draw.random() < right:
            candidates[draw.randrange(10)] = reference
        item = {"id": f"test-{number:03d}", "intent": f"{' '.join(draw.choices(WORDS, k=9))}", "prompt": ""}
        scores = sorted((-draw.random() for _ in range(10)), reverse=True)
        found.append({**item, "reference": reference, "candidates": candidates, "scores": scores})
    ids, references, candidates = ([row[key] for row in found] for key in ("id", "reference", "candidates"))
    return found, measure(ids, references, candidates)


def record(folder: Path, trials: int, seed: int) -> Run:
    """Write the run."""
    settings = [f"models=[{', '.join(MODELS)}]", f"datasets=[{', '.join(ITEMS)}]", f"search.trials={trials}"]
    settings += [f"techniques=[{', '.join(TECHNIQUES)}]"]
    resolved = resolve("quickstart", settings=settings)
    run, draw = Run(folder), random.Random(seed)
    write_text(run.study_file, resolved.dump())
    recorder = Recorder(run)
    # drawn once for each share: what a test scores is not the report's work
    pool = {name: [tested(name, share, draw) for share in SHARES] for name in ITEMS}
    left: dict[tuple[str, str], list[Tested]] = {}
    for cell in run.plan.cells:
        technique = resolved.techniques[cell.technique]
        space = {name: distribution(dimension) for name, dimension in technique.space.items()}
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=draw.randrange(2**31)))
        best = (9.0, 0, {})
        for number in range(trials):
            point = technique.from_drawn(study.ask(space).params) if number else resolved.points[cell.technique]
            reached = draw.uniform(0.8, 1.6)
            stopped = number and reached > 1.1
            curve = [reached + 1.2 * 0.8**report for report in range(REPORTS // (4 if stopped else 1))]
            recorder.trial(cell, number, point, curve, draw.uniform(2, 30), "stopped" if stopped else "finished")
            best = min(best, (curve[-1], number, point), key=lambda one: one[0])
        recorder.select(cell, best[1], REPORTS - 1, best[0], 20.0, best[2])
        unused = left.setdefault((cell.model, cell.dataset), draw.sample(pool[cell.dataset], len(SHARES)))
        rows, scores = unused.pop()
        recorder.test(cell, scores.block(), rows)
        scores.save(scores_file(run.predictions_file(cell)))
    for job in run.plan.icl_jobs:
        rows, scores = pool[job.dataset][job.examples]
        file = run.icl_file(job).with_suffix(".jsonl")
        write_lines(file, rows)
        recorder.icl(job, scores.block())
        scores.save(scores_file(file))
    return run


def main() -> None:
    """Write the run, build its report and print what that took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for the run")
    parser.add_argument("--trials", type=int, default=25, help="a cell")
    parser.add_argument("--seed", type=int, default=2026)
    wanted = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    run = record(wanted.folder / "run", wanted.trials, wanted.seed)
    began = time.monotonic()
    index = write(run)
    seconds = time.monotonic() - began
    figures = {
        "cells": len(run.plan.cells),
        "trials": sum(1 for _ in run.trials()),
        "reports": sum(1 for _ in run.reports()),
        "icl_jobs": len(run.plan.icl_jobs),
        "seconds": round(seconds, 1),
        "html_mib": round(index.stat().st_size / 2**20, 2),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
