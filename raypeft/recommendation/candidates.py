"""What a study has tested, set against limits of memory and time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from raypeft.metrics.entries import compared_metrics
from raypeft.output.text import hyperparameters, loss, mebibytes
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.gather import Numbers
from raypeft.report.numbers.trials import Trial
from raypeft.runs.records import USABLE, Memory, TrialEnd

MIB_A_GIB = 1024
# What CUDA takes on a card for itself, and torch's statistics do not count.
CUDA_CONTEXT_MIB = 512


@dataclass(frozen=True)
class Budget:
    """The most that training may take: GiB of GPU memory, hours of one trial; none is no limit."""

    gpu_memory_gib: float | None = None
    hours: float | None = None


@dataclass(frozen=True)
class Candidate:
    """A tested cell, with the costs of its selected trial.

    Attributes:
        row: its result.
        value: EM@k on the test, in percent.
        memory_mib: peak of training and validation; none where it was not measured.
        seconds: of training, without evaluation.
        trainable: trained weights.
    """

    row: CellRow
    value: float
    memory_mib: float | None
    seconds: float
    trainable: int

    def dominates(self, other: "Candidate") -> bool:
        """Whether it is nowhere worse than another and somewhere better: Pareto's order."""
        own, others = self._upward(), other._upward()
        return own != others and all(mine >= theirs for mine, theirs in zip(own, others, strict=True))

    def _upward(self) -> tuple[float, ...]:
        memory = float("inf") if self.memory_mib is None else self.memory_mib
        return (self.value, -memory, -self.seconds, -float(self.trainable))


def peak_memory(measured: Memory, on_gpu: bool) -> float | None:
    """MiB that a card must have: what torch reserved where that was measured, and on a GPU what CUDA takes itself.

    Args:
        measured: a selection or an ended trial, with the memory of its reports.
        on_gpu: whether it was measured on a GPU.
    """
    known = (measured.training_reserved_mib, measured.decoding_reserved_mib, measured.peak_memory_mib)
    peak = max((value for value in known if value is not None), default=None)
    return None if peak is None else peak + (CUDA_CONTEXT_MIB if on_gpu else 0)


def sort_out(numbers: Numbers, rows: Sequence[CellRow], limits: Budget) -> tuple[list[Candidate], list[str]]:
    """Tested cells within the limits, best first, and why the others are left out.

    Args:
        numbers: of the run.
        rows: results on one test set.
        limits: of training.
    """
    on_gpu = bool(numbers.run.manifest().gpus)
    fitting, left_out = [], []
    for row in rows:
        value = row.metrics.get(numbers.metric)
        if row.state != "tested" or value is None:
            left_out.append(f"{row.name}: {row.state}" + (f", {row.note}" if row.note else ""))
            continue
        chosen = row.selection
        memory = peak_memory(chosen, on_gpu)
        if chosen.training_seconds is None or chosen.trainable_parameters is None:
            left_out.append(f"{row.name}: {row.note or 'what its training took is not recorded'}")
            continue
        candidate = Candidate(row, value, memory, chosen.training_seconds, chosen.trainable_parameters)
        if excess := list(_excess(memory, candidate.seconds, limits)):
            left_out.append(f"{row.name}: {'; '.join(excess)}" + _other_point(numbers, row, limits, on_gpu))
        else:
            fitting.append(candidate)
    order = {row.name: place for place, row in enumerate(rows)}
    fitting.sort(key=lambda one: (-one.value, *_downward(one), order[one.row.name]))
    return fitting, left_out


def _downward(candidate: Candidate) -> list[float]:
    """What decides between equal EM@k, the lower the better."""
    return [-metric.upward(candidate.row.metrics.get(key)) for key, metric in compared_metrics().items()]


def pareto_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other beats in EM@k, memory, time and trained weights together."""
    return [one for one in candidates if not any(other.dominates(one) for other in candidates)]


def _excess(memory: float | None, seconds: float, limits: Budget) -> Iterator[str]:
    if limits.gpu_memory_gib is not None:
        if memory is None:
            yield "its memory was not measured"
        elif memory > limits.gpu_memory_gib * MIB_A_GIB:
            yield f"needs {mebibytes(memory)} MiB"
    if limits.hours is not None and seconds > limits.hours * 3600:
        yield f"trains for {seconds / 3600:.2g} h"


def _other_point(numbers: Numbers, row: CellRow, limits: Budget, on_gpu: bool) -> str:
    """The cell's best trial by validation loss that is within the limits, which has no test result."""
    records = {end.trial: end for end in numbers.run.trials()}
    within = [
        trial
        for trial in numbers.trials_of(row.cell)
        if trial.state in USABLE and trial.name in records and not _exceeds(records[trial.name], trial, limits, on_gpu)
    ]
    best = min(within, key=lambda trial: trial.best_loss if trial.best_loss is not None else float("inf"), default=None)
    if best is None or best.best_loss is None:
        return ""
    point = hyperparameters(best.hyperparameters)
    return f"; with {point} it would fit (validation loss {loss(best.best_loss)}), but that is not tested"


def _exceeds(record: TrialEnd, trial: Trial, limits: Budget, on_gpu: bool) -> bool:
    return any(_excess(peak_memory(record, on_gpu), trial.training_seconds or 0.0, limits))
