"""Running a job: decode one test split, then write predictions and metrics, the result file last and atomically."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from raypeft.data.encoding import encode_prompt
from raypeft.data.prompts import draw_examples
from raypeft.data.sources import Item, load_split
from raypeft.decoding.fitting import decode_fitting
from raypeft.evaluation.jobs import Job
from raypeft.evaluation.restored import check_restored
from raypeft.metrics.items import measure
from raypeft.modeling.adapters import adapted
from raypeft.modeling.fitting import check_prompts
from raypeft.modeling.loading import Base, study_base
from raypeft.modeling.memory import Peaks, limit_gpu_memory
from raypeft.modeling.precision import name_of
from raypeft.runs.folder import Run, scores_file
from raypeft.runs.reading import write_predictions, write_record
from raypeft.runs.records import IclResult, Prediction, TestResult
from raypeft.runs.selection import selected
from raypeft.spec.plan import IclJob, Plan
from raypeft.training.data import beam_settings, limits_of, prompts_of


def run_job(run: Run, job: Job, decode_batch: int | None = None) -> TestResult | IclResult:
    """Decode the test split and write predictions and metrics (paper, section 4.5).

    Args:
        run: where the results belong.
        job: what is decoded.
        decode_batch: prompts searched together, by default as many as the study says.

    Returns:
        What the result file holds.
    """
    plan = run.plan
    limit_gpu_memory(plan.resolved.study.resources.gpu_memory_gb)
    base = study_base(plan.resolved, job.target)
    items = load_split(plan.resolved.datasets, job.dataset, "test", plan.resolved.study.data)
    peaks = Peaks()
    started = time.monotonic()
    if isinstance(job.target, IclJob):
        details, prompts = _icl_prompts(plan, base, job.target, items)
        rows, searched = decode_items(plan, base, base.model, job.dataset, items, prompts, decode_batch)
    else:
        selection = selected(run, job.target)
        technique = plan.resolved.techniques[job.target.technique]
        prompts, shortened = tuned_prompts(plan, base, job.dataset, items)
        details = {
            "cell": job.target.id,
            "dataset": job.dataset,
            "trial": selection.trial,
            "shortened_prompts": shortened,
        }
        with adapted(
            base,
            technique,
            selection.point,
            seed=plan.resolved.study.training.seed,
            saved=run.cell_folder(job.target) / "best",
        ) as model:
            check_restored(plan, base, model, job.target, selection.validation_loss or 0.0)
            rows, searched = decode_items(plan, base, model, job.dataset, items, prompts, decode_batch)
        if base.changed:
            run.note(f"{job.id} left the base model changed ({base.changed}): it is loaded anew")
    peaks.attribute("decoding")
    scores = measure(
        [str(row.id) for row in rows],
        [row.reference for row in rows],
        [row.candidates for row in rows],
        _lengths(base, prompts, rows),
    )
    result: dict[str, Any] = {
        **details,
        "metrics": scores.block(),
        "seconds": time.monotonic() - started,
        **peaks.as_report(),
        "precision": name_of(base.dtype),
        "decode_batch": searched,
        "beams": plan.resolved.study.test.beams,
        "candidates": plan.resolved.study.test.candidates,
        "max_new_tokens": plan.resolved.datasets[job.dataset].max_code_tokens,
    }
    predictions = job.predictions_file(run)
    digest = write_predictions(predictions, rows)
    scores.save(scores_file(predictions), digest)
    kind: type[TestResult] | type[IclResult] = IclResult if isinstance(job.target, IclJob) else TestResult
    return write_record(job.result_file(run), kind(**result, predictions_sha256=digest))


def decode_items(
    plan: Plan,
    base: Base,
    model: Any,
    dataset: str,
    items: Sequence[Item],
    prompts: Sequence[Sequence[int]],
    decode_batch: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Prediction], int]:
    """Candidates of each item by the study's beam search with a data set's limits.

    Returns:
        Predictions, and the number of items searched together.

    Raises:
        UserError: the model has no embedding for a token, or too few positions for a prompt.
    """
    settings = beam_settings(plan, plan.resolved.datasets[dataset], prompts_of(plan, base))
    check_prompts(base.model, prompts, settings.max_new_tokens, f"models.{base.name}")
    wanted = decode_batch or plan.resolved.study.test.decode_batch
    found, searched = decode_fitting(model, base.tokenizer, prompts, settings, batch_size=wanted, progress=progress)
    rows = [
        Prediction(
            id=item.id,
            intent=item.intent,
            prompt=base.tokenizer.decode(ids),
            reference=item.code,
            candidates=[candidate.text for candidate in candidates],
            scores=[candidate.score for candidate in candidates],
        )
        for item, ids, candidates in zip(items, prompts, found, strict=True)
    ]
    return rows, searched


def _lengths(base: Base, prompts: Sequence[Sequence[int]], rows: Sequence[Prediction]) -> dict[str, Sequence[int]]:
    """Tokens of each prompt, reference and first candidate; those of code without its end-of-sequence token."""

    def code(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in base.tokenizer(texts, add_special_tokens=False)["input_ids"]]

    return {
        "prompt": [len(ids) for ids in prompts],
        "reference": code([row.reference for row in rows]),
        "prediction": code([row.candidates[0] if row.candidates else "" for row in rows]),
    }


def tuned_prompts(plan: Plan, base: Base, dataset: str, items: Sequence[Item]) -> tuple[list[list[int]], int]:
    """Prompts of the test items, and how many intents were cut to the token limit."""
    prompts, limits = prompts_of(plan, base), limits_of(plan, plan.resolved.datasets[dataset])
    fitted = [encode_prompt(prompts, item.intent, limits) for item in items]
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
    prompts = prompts_of(plan, base)
    return details, [prompts.ids(prompts.icl(item.intent, examples)) for item in items]
