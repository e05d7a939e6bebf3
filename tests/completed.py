"""A run folder as a study leaves it, made without training."""

from dataclasses import asdict
from pathlib import Path

from benchmarks.recording import prediction
from raypeft.metrics.items import measure
from raypeft.output.files import write_json, write_text
from raypeft.runs.checkpoints import seal
from raypeft.runs.folder import Run, scores_file
from raypeft.runs.ledger import Ledger, remaining
from raypeft.runs.reading import write_predictions, write_record
from raypeft.runs.records import IclResult, Message, Prediction, TestResult
from raypeft.runs.selection import select
from raypeft.spec.plan import Cell, IclJob
from raypeft.spec.resolve import resolve
from raypeft.sweep.searcher import CellSearcher
from tests.sweep.test_searcher import finish

CELL = Cell("tiny-decoder", "snippets", "lora")
JOB = IclJob("tiny-decoder", "snippets", 1, 42)
SETTINGS = ("icl.examples=[1]", "icl.seeds=[42]")


def start(folder: Path, trials: int = 4) -> Run:
    run = Run(folder)
    resolved = resolve("quickstart", models=["tiny-decoder"], techniques=["lora"], trials=trials, settings=SETTINGS)
    write_text(run.study_file, resolved.dump())
    return run


def complete(run: Run) -> None:
    """Let every trial that is left end, with a made-up loss and a checkpoint, and test what is selected."""
    ledger = Ledger(run)
    searcher = CellSearcher(run.plan, ledger, run.folder)
    searcher.enqueue(remaining(run.plan, ledger))
    while (config := searcher.suggest("id")) != "FINISHED":
        assert isinstance(config, dict)
        finish(searcher, ledger, config)
        for row in ledger.reports[config["trial"]][-1:]:
            folder = run.trial_folder(config["trial"]) / f"checkpoint-{row.report}"
            write_text(folder / "adapter_model.safetensors", config["trial"])
            write_text(folder / "optimizer.pt", "state")
            scores = {"report", "validation_loss", "em10", "em10_computed"}
            seal(folder, Message(**row.model_dump(include=scores, by_alias=False)))
    select(run)
    for cell, dataset in run.plan.test_jobs:
        selection = run.selection(cell)
        if selection and selection.trial:
            details = {"cell": cell.id, "dataset": dataset, "trial": selection.trial}
            answer(run.test_file(cell, dataset), run.predictions_file(cell, dataset), TestResult, **details)
    for job in run.plan.icl_jobs:
        answer(run.icl_file(job), run.icl_file(job).with_suffix(".jsonl"), IclResult, **asdict(job))


def answer(result: Path, file: Path, kind: type[TestResult | IclResult], **details: str | int) -> None:
    """Write predictions and the result of a job, as it does."""
    rows = [Prediction(**prediction(number)) for number in (1, 2)]
    scores = measure([str(row.id) for row in rows], [row.reference for row in rows], [row.candidates for row in rows])
    digest = write_predictions(file, rows)
    scores.save(scores_file(file), digest)
    metrics = {"metrics": scores.block(), "seconds": 1.0, "peak_memory_mib": 1.0, "predictions_sha256": digest}
    write_record(result, kind(**details, **metrics))


def completed(folder: Path) -> Run:
    """A run of one cell with four trials, its test and one in-context-learning job."""
    made = start(folder)
    complete(made)
    write_json(made.manifest_file, {"datasets": {}})
    return made


def damage(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
