"""Checkpoints of a trial: which are sound, which is the last, which is the best."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from raypeft.files import write_json

MARKER = "report.json"
SelectBy = Literal["loss", "em@10"]


def seal(checkpoint: Path, report: Mapping[str, Any]) -> None:
    """Mark a checkpoint as sound by writing its report into it, the last file of all."""
    write_json(checkpoint / MARKER, dict(report))


def sound(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Sealed checkpoints of a trial with their reports, oldest first."""
    found = []
    for marker in folder.glob(f"checkpoint-*/{MARKER}"):
        try:
            found.append((marker.parent, json.loads(marker.read_text(encoding="utf-8"))))
        except (OSError, json.JSONDecodeError):
            continue
    return sorted(found, key=lambda pair: pair[1]["report"])


def merit(report: Mapping[str, Any], select_by: SelectBy) -> tuple[float, float]:
    """Sort key under which smaller is better: the validation loss, or EM@10 where it was computed, then the loss."""
    loss = report["validation_loss"]
    loss = float("inf") if loss is None else loss
    if select_by == "loss":
        return (loss, 0.0)
    return (-report["em@10"] if report["em@10_computed"] else 1.0, loss)


def best(folder: Path, select_by: SelectBy) -> tuple[Path, dict[str, Any]] | None:
    """The best sealed checkpoint of a trial, the earliest of equals."""
    return min(sound(folder), key=lambda pair: merit(pair[1], select_by), default=None)


def last(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest sealed checkpoint of a trial."""
    checkpoints = sound(folder)
    return checkpoints[-1] if checkpoints else None


def prune(folder: Path, select_by: SelectBy) -> None:
    """Keep the best and the last sealed checkpoint of a trial and remove every other."""
    kept = {pair[0] for pair in (best(folder, select_by), last(folder)) if pair}
    for checkpoint in folder.glob("checkpoint-*"):
        if checkpoint not in kept:
            shutil.rmtree(checkpoint, ignore_errors=True)
