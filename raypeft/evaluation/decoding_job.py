"""Running a job: decode one test split, then write predictions and metrics, the result file last and atomically."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from raypeft.data.encoding import fitted_prompt, prompt_ids
from raypeft.data.prompts import draw_examples, icl_prompt, package_test_prompt
from raypeft.data.sources import Item, load_split
from raypeft.decoding import decode
from raypeft.evaluation.jobs import Job
from raypeft.files import write_json, write_lines
from raypeft.metrics import score
from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import Base, study_base
from raypeft.modeling.memory import peak_mib, reset_peak
from raypeft.run import Run
from raypeft.spec.plan import IclJob, Plan
from raypeft.training.data import beam_settings


def run_job(run: Run, job: Job) -> dict[str, Any]:
    """Decode the test split and write predictions and metrics (paper, section 4.5).

    Returns:
        The content of the result file.
    """
    plan = run.plan
    base = study_base(plan.resolved, job.target)
    items = load_split(plan.resolved.datasets, job.dataset, "test", plan.resolved.study.data)
    reset_peak()
    started = time.monotonic()
    if isinstance(job.target, IclJob):
        details, prompts = _icl_prompts(plan, base, job.target, items)
        rows = _decode(plan, base, base.model, job.dataset, items, prompts)
    else:
        selection = run.selection(job.target) or {}
        details = {"cell": job.target.id, "dataset": job.dataset, "trial": selection["trial"]}
        technique = plan.resolved.techniques[job.target.technique]
        prompts, shortened = _tuned_prompts(plan, base, job.dataset, items)
        details["shortened_prompts"] = shortened
        with adapted(
            base,
            technique,
            selection["hyperparameters"],
            seed=plan.resolved.study.training.seed,
            saved=run.cell_folder(job.target) / "best",
        ) as model:
            rows = _decode(plan, base, model, job.dataset, items, prompts)
    result = {
        **details,
        "metrics": score([row["reference"] for row in rows], [row["candidates"] for row in rows]),
        "seconds": time.monotonic() - started,
        "peak_memory_mib": peak_mib(),
        "beams": plan.resolved.study.test.beams,
        "candidates": plan.resolved.study.test.candidates,
        "max_new_tokens": plan.resolved.datasets[job.dataset].max_code_tokens,
    }
    write_lines(job.predictions_file(run), rows)
    write_json(job.result_file(run), result)
    return result


def _decode(
    plan: Plan, base: Base, model: Any, dataset: str, items: Sequence[Item], prompts: Sequence[Sequence[int]]
) -> list[Mapping[str, Any]]:
    settings = beam_settings(plan, plan.resolved.datasets[dataset])
    found = decode(model, base.tokenizer, prompts, settings, batch_size=plan.resolved.study.test.decode_batch)
    return [
        {
            "id": item.id,
            "intent": item.intent,
            "prompt": base.tokenizer.decode(ids),
            "reference": item.code,
            "candidates": [candidate.text for candidate in candidates],
            "scores": [candidate.score for candidate in candidates],
        }
        for item, ids, candidates in zip(items, prompts, found, strict=True)
    ]


def _tuned_prompts(plan: Plan, base: Base, dataset: str, items: Sequence[Item]) -> tuple[list[list[int]], int]:
    """Prompts of the test items, and how many intents were cut to the token limit."""
    entry, architecture = plan.resolved.datasets[dataset], base.architecture
    if plan.resolved.study.protocol.test_prompt == "package":
        texts = [package_test_prompt(item.intent, architecture) for item in items]
        return [prompt_ids(base.tokenizer, text, architecture) for text in texts], 0
    fitted = [fitted_prompt(base.tokenizer, item.intent, architecture, entry.max_prompt_tokens) for item in items]
    return [ids for ids, _ in fitted], sum(shortened for _, shortened in fitted)


def _icl_prompts(plan: Plan, base: Base, job: IclJob, items: Sequence[Item]) -> tuple[dict[str, Any], list[list[int]]]:
    train = load_split(plan.resolved.datasets, job.dataset, "train", plan.resolved.study.data)
    examples = draw_examples(train, job.examples, job.seed)
    details = {
        "model": job.model,
        "dataset": job.dataset,
        "examples": job.examples,
        "seed": job.seed,
        "example_ids": [example.id for example in examples],
    }
    architecture = base.architecture
    return details, [prompt_ids(base.tokenizer, icl_prompt(item.intent, examples), architecture) for item in items]
