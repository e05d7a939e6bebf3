"""Writes run folders as a sweep and its jobs do, with numbers chosen by hand: for tests, and to measure reports on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raypeft.metrics import score
from raypeft.output.files import append_line, write_json, write_lines, write_text
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell, IclJob
from raypeft.spec.resolve import resolve

DECODER, ENCODER_DECODER, DATASET = "tiny-decoder", "tiny-encoder-decoder", "snippets"
HOSTILE = "</pre><script>alert('x')</script><img src=x onerror=alert(1)> | `a` **b** $c$ \x1b[31m\x00 \u202e"
TECHNIQUES = ("lora", "ia3", "prefix_tuning")
STARTED = 1_800_000_000.0

LORA_POINTS = [
    {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "learning_rate": 0.0003},
    {"r": 4, "lora_alpha": 16, "lora_dropout": 0.0, "learning_rate": 0.00004},
    {"r": 64, "lora_alpha": 128, "lora_dropout": 0.1, "learning_rate": 0.002},
]
LORA_LOSSES = [
    [2.0, 1.5, 1.2, 1.0, 0.9, 0.85, 0.8],
    [2.0, 1.9, 1.85, 1.8, 1.78, 1.75],
    [2.0, 1.2, 0.9, 0.75, 0.8, 0.9, 1.1],
]


def block(em1: float, em10: float, codebleu: float, flat: float, items: int = 160) -> dict[str, Any]:
    """A metric block as `raypeft.metrics.score` makes it."""
    parts = {"ngram": codebleu, "weighted_ngram": codebleu, "syntax": codebleu, "dataflow": None}
    return {
        "items": items,
        "em@1": em1,
        "em@2": em1 + 1,
        "em@5": em1 + 2,
        "em@10": em10,
        "em_ast@1": em1,
        "codebleu": {"score": codebleu, **parts},
        "codebleu_flat": {"score": flat, **parts},
        "chrf": 50.0,
    }


class Recorder:
    """Writes what a sweep and its jobs write."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.clock = STARTED

    def trial(
        self,
        cell: Cell,
        number: int,
        hyperparameters: dict[str, Any],
        losses: list[float],
        em: float,
        state: str | None = "finished",
        reason: str | None = None,
        error: str | None = None,
    ) -> None:
        """Reports of a trial, and its end."""
        name = cell.trial_name(number)
        for report, loss in enumerate(losses):
            self.clock += 2.0
            row = {
                "trial": name,
                "cell": cell.id,
                "number": number,
                "report": report,
                "epoch": report * 0.2,
                "step": report * 16,
                "validation_loss": loss,
                "best_loss": min(losses[: report + 1]),
                "em@10": em if report else 2.5,
                "em@10_computed": True,
                "training_seconds": report * 1.5,
                "evaluation_seconds": (report + 1) * 0.5,
                "peak_memory_mib": 512.0,
                "trainable_parameters": 12288,
                "parameters": 1012288,
                "time": self.clock,
            }
            append_line(self.run.reports_file, row)
        if state is None:
            return
        append_line(
            self.run.trials_file,
            {
                "trial": name,
                "cell": cell.id,
                "number": number,
                "state": state,
                "reason": reason,
                "hyperparameters": hyperparameters,
                "paper_point": number == 0,
                "reports": len(losses),
                "best_report": losses.index(min(losses)) if losses else None,
                "best_loss": min(losses, default=None),
                "best_em@10": em if losses else None,
                "training_seconds": 1.5 * max(len(losses) - 1, 0),
                "evaluation_seconds": 0.5 * len(losses),
                "peak_memory_mib": 512.0,
                "trainable_parameters": 12288,
                "parameters": 1012288,
                "error": error,
                "time": self.clock,
            },
        )

    def select(
        self,
        cell: Cell,
        number: int,
        report: int,
        loss: float,
        em: float,
        point: dict[str, Any],
        memory: float = 512.5,
    ) -> None:
        """The selection of a cell."""
        write_json(
            self.run.cell_folder(cell) / "selection.json",
            {
                "cell": cell.id,
                "trial": cell.trial_name(number),
                "number": number,
                "hyperparameters": point,
                "paper_point": number == 0,
                "checkpoint_report": report,
                "validation_loss": loss,
                "em@10": em,
                "training_seconds": 9.0,
                "peak_memory_mib": memory,
                "trainable_parameters": 12288,
                "parameters": 1012288,
                "select_by": "loss",
                "considered": 3,
                "trials": {"finished": 2, "stopped": 1},
            },
        )

    def test(
        self, cell: Cell, metrics: dict[str, Any], predictions: list[dict[str, Any]], dataset: str | None = None
    ) -> None:
        """A test result with its predictions."""
        write_lines(self.run.predictions_file(cell, dataset), predictions)
        write_json(
            self.run.test_file(cell, dataset),
            {"cell": cell.id, "trial": "", "metrics": metrics, "seconds": 12.0, "peak_memory_mib": 600.0},
        )

    def icl(self, job: IclJob, metrics: dict[str, Any]) -> None:
        """The result of an in-context-learning run."""
        write_json(
            self.run.icl_file(job),
            {
                "model": job.model,
                "dataset": job.dataset,
                "examples": job.examples,
                "seed": job.seed,
                "metrics": metrics,
                "example_ids": [],
                "seconds": 20.0 + job.seed,
                "peak_memory_mib": 700.0,
            },
        )


def start(folder: Path, *settings: str, techniques: tuple[str, ...] = TECHNIQUES, trials: int = 3) -> Run:
    """A run of the quickstart study in which nothing has happened."""
    run = Run(folder)
    resolved = resolve("quickstart", techniques=techniques, trials=trials, settings=settings)
    write_text(run.study_file, resolved.dump())
    return run


def prediction(number: int) -> dict[str, Any]:
    """Item 0 is hostile, item 1 matched at rank 1, item 2 at rank 5, the others not at all."""
    matched = {1: 0, 2: 4}.get(number)
    candidates = [f"guess_{number}_{rank}()" for rank in range(10)]
    if matched is not None:
        candidates[matched] = f"  answer_{number}()"
    if number == 0:
        candidates[0] = HOSTILE
    return {
        "id": f"test-{number:03d}",
        "intent": f"intent {number} & more",
        "prompt": "",
        "reference": f"answer_{number}()",
        "candidates": candidates,
        "scores": [-float(rank) for rank in range(10)],
    }


def predictions(right: Sequence[int], items: int = 40, rank: int = 1) -> list[dict[str, Any]]:
    """Predictions of a test whose items in `right` have their reference at a rank; the others do not have it."""
    rows = []
    for number in range(items):
        reference = f"total_{number} = first_{number} + sum(values[:{number}])"
        candidates = [f"other_{number}_{place} = compute()" for place in range(10)]
        if number in right:
            candidates[rank - 1] = reference
        rows.append(
            {
                "id": f"test-{number:03d}",
                "intent": f"intent {number}",
                "prompt": "",
                "reference": reference,
                "candidates": candidates,
                "scores": [-0.5 * place for place in range(10)],
            }
        )
    return rows


def record_compared(folder: Path) -> Run:
    """A run whose cells and in-context learning were tested on the same 40 items, with what they got right."""
    run = start(folder, "models=[tiny-decoder]", "icl.examples=[0, 2]", "icl.seeds=[1, 2, 3]")
    record = Recorder(run)
    for technique, right in (("lora", range(30)), ("ia3", range(24, 36)), ("prefix_tuning", range(28))):
        cell = Cell(DECODER, DATASET, technique)
        for number in range(3):
            record.trial(cell, number, {"learning_rate": 0.001 * (number + 1)}, [2.0, 1.5 - 0.1 * number], 20.0)
        record.select(cell, 2, 1, 1.3, 20.0, {"learning_rate": 0.003})
        rows = predictions(right)
        record.test(cell, score_rows(rows), rows)
    for job, right in (
        (IclJob(DECODER, DATASET, 0, 1), range(0)),
        (IclJob(DECODER, DATASET, 2, 1), range(10)),
        (IclJob(DECODER, DATASET, 2, 2), range(12)),
        (IclJob(DECODER, DATASET, 2, 3), range(5, 13)),
    ):
        rows = predictions(right, rank=10)
        write_lines(run.icl_file(job).with_suffix(".jsonl"), rows)
        record.icl(job, score_rows(rows))
    write_json(run.manifest_file, {"raypeft": "0.1.0", "versions": {"torch": "2.13.0"}, "gpus": [], "cpu": "CPU"})
    return run


def score_rows(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Metrics of predictions."""
    return score([row["reference"] for row in rows], [row["candidates"] for row in rows])
