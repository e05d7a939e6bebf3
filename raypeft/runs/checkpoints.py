"""Checkpoints of a trial: which are sealed, which is the last, which is the best."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raypeft.output.files import read_json, write_json
from raypeft.runs.reading import parse
from raypeft.runs.records import Message, Scores, SelectBy, Since

MARKER = "report.json"
SEAL = "seal"


@dataclass(frozen=True)
class Checkpoint:
    """A sealed checkpoint.

    Attributes:
        path: its folder.
        report: the last report of the trial when it was written.
        since: where it was written between two reports, the `step` and what was measured since the last report.
        files: size in bytes and SHA-256 of every file.
    """

    path: Path
    report: Message | None
    since: Since | None
    files: dict[str, tuple[int, str]]

    @property
    def order(self) -> tuple[int, int]:
        """Sort key: later in training is greater."""
        return (self.report.report if self.report else -1, self.since.step if self.since else -1)

    def damage(self) -> str | None:
        """What is wrong with its files: missing, of another size or content; none where all is well."""
        for name, (size, digest) in self.files.items():
            file = self.path / name
            try:
                if file.stat().st_size != size:
                    return f"{name} has {file.stat().st_size} bytes in place of {size}"
                if _digest(file) != digest:
                    return f"{name} has changed"
            except OSError as error:
                return f"{name} cannot be read ({error.strerror})"
        return None


def seal(
    checkpoint: Path,
    report: Message | None,
    since: Since | None = None,
    files: Mapping[str, tuple[int, str]] | None = None,
) -> Checkpoint:
    """Mark a checkpoint as whole, its files on disk, by writing its report into it, the last file of all.

    Args:
        checkpoint: the folder.
        report: the trial's last report, none before the first.
        since: what was measured since, for a checkpoint between two reports.
        files: sizes and digests, where it was sealed before.
    """
    files = dict(files) if files else {file.name: _synced(file) for file in _files(checkpoint)}
    own: dict[str, Any] = {"since": since.content() if since else None, "files": files}
    said = report.content() if report else {}
    own["sha256"] = _own_digest({**said, SEAL: own})
    write_json(checkpoint / MARKER, {**said, SEAL: own})
    return Checkpoint(checkpoint, report, since, files)


def sealed(folder: Path) -> list[Checkpoint]:
    """Sealed checkpoints of a trial, oldest first; their files are not looked at."""
    found = (_read(marker.parent) for marker in folder.glob(f"checkpoint-*/{MARKER}"))
    return sorted((one for one in found if one), key=lambda one: one.order)


def with_weights(folder: Path) -> list[Checkpoint]:
    """Sealed checkpoints that hold a report's weights, oldest first."""
    return [one for one in sealed(folder) if one.since is None]


def rank_key(report: Scores | None, select_by: SelectBy) -> tuple[float, float]:
    """Sort key under which smaller is better: the validation loss, or EM@10 where it was computed, then the loss."""
    loss, em10 = (report.validation_loss, report.em10) if report else (None, None)
    return rank(loss, em10 if report and report.em10_computed else None, select_by)


def rank(loss: float | None, em10: float | None, select_by: SelectBy) -> tuple[float, float]:
    """As `rank_key`, of the two numbers."""
    loss = float("inf") if loss is None else loss
    if select_by == "loss":
        return (loss, 0.0)
    return (1.0 if em10 is None else -em10, loss)


def best(folder: Path, select_by: SelectBy) -> Checkpoint | None:
    """The best sealed checkpoint of a trial, the earliest of equals."""
    return min(with_weights(folder), key=lambda one: rank_key(one.report, select_by), default=None)


def last(folder: Path) -> Checkpoint | None:
    """The newest sealed checkpoint of a trial."""
    return max(sealed(folder), key=lambda one: one.order, default=None)


def last_intact(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint whose files are as they were sealed, newer ones removed, and what was wrong with those."""
    faults: list[str] = []
    for one in reversed(sealed(folder)):
        if (damage := one.damage()) is None:
            return one, faults
        faults.append(f"{one.path.name} is damaged ({damage})")
        shutil.rmtree(one.path)
    return None, faults


def prune(folder: Path, select_by: SelectBy) -> None:
    """Keep the best and the last sealed checkpoint of a trial and remove every other.

    Where they are one, the one before it is kept as well, for the case that it gets damaged.
    """
    known = sealed(folder)
    kept = {one.path for one in (best(folder, select_by), last(folder)) if one}
    if len(kept) == 1:
        kept |= {one.path for one in known[-2:]}
    for checkpoint in folder.glob("checkpoint-*"):
        if checkpoint not in kept:
            shutil.rmtree(checkpoint, ignore_errors=True)


def _read(checkpoint: Path) -> Checkpoint | None:
    """A checkpoint by its marker, none where that is missing or damaged."""
    try:
        content = read_json(checkpoint / MARKER)
        mark = content[SEAL]
        if mark.pop("sha256") != _own_digest(content):
            return None
        files = {name: (size, digest) for name, (size, digest) in mark["files"].items()}
        if any(Path(name).name != name for name in files):
            return None
        said = {key: value for key, value in content.items() if key != SEAL}
        report = parse(Message, json.dumps(said).encode()) if said else None
        since = parse(Since, json.dumps(mark["since"]).encode()) if mark["since"] else None
        return Checkpoint(checkpoint, report, since, files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _own_digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _files(checkpoint: Path) -> list[Path]:
    return sorted(file for file in checkpoint.iterdir() if file.name != MARKER and not file.name.startswith("."))


def _synced(file: Path) -> tuple[int, str]:
    """Size and digest of a file that is on disk when this returns."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
    return file.stat().st_size, _digest(file)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
