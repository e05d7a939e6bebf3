"""A run folder as a study leaves it, made without training."""

from pathlib import Path

from raypeft.files import write_json, write_lines, write_text
from raypeft.run import Run
from raypeft.selection import select
from raypeft.spec.plan import Cell, IclJob
from raypeft.spec.resolve import resolve
from raypeft.sweep.ledger import Ledger, remaining
from raypeft.sweep.searcher import CellSearcher
from raypeft.training.checkpoint import seal
from tests.report.recording import block, prediction
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
            folder = run.trial_folder(config["trial"]) / f"checkpoint-{row['report']}"
            write_text(folder / "adapter_model.safetensors", config["trial"])
            write_text(folder / "optimizer.pt", "state")
            seal(folder, {key: row[key] for key in ("report", "validation_loss", "em@10", "em@10_computed")})
    select(run)
    result = {"metrics": block(50.0, 60.0, 40.0, 30.0, items=2), "seconds": 1.0, "peak_memory_mib": 1.0}
    result |= {"model": JOB.model, "dataset": JOB.dataset, "examples": JOB.examples, "seed": JOB.seed}
    for file, rows in (
        (run.test_file(CELL), run.predictions_file(CELL)),
        (run.icl_file(JOB), run.icl_file(JOB).with_suffix(".jsonl")),
    ):
        write_lines(rows, [prediction(1), prediction(2)])
        write_json(file, result)


def completed(folder: Path) -> Run:
    """A run of one cell with four trials, its test and one in-context-learning job."""
    made = start(folder)
    complete(made)
    write_json(made.manifest_file, {"datasets": {}})
    return made


def damage(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
