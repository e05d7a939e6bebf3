"""Results of in-context learning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from raypeft.metrics import flatten
from raypeft.output.text import last_line
from raypeft.runs.folder import Run
from raypeft.spec.plan import IclJob


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) of one metric over seeds; one value has no deviation."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return fmean(self.values)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class IclRow:
    """In-context learning of one model and data set with one number of examples.

    Attributes:
        planned: seeds planned.
        done: seeds with a result.
        seeds: those, in the order of the metrics' values.
        note: which seeds have no result and why; none when all have.
        errors: traceback of each failed job, by seed.
        metrics: like a cell's, over the seeds that have a result.
        seconds: mean seconds of a run.
        best: whether no other number of examples has a higher mean EM@k (the fewest examples where they tie).
    """

    model: str
    dataset: str
    examples: int
    planned: int
    done: int
    seeds: tuple[int, ...]
    note: str | None
    errors: Mapping[int, str]
    metrics: Mapping[str, Spread]
    items: int | None
    seconds: float | None
    peak_memory_mib: float | None
    best: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        """What it is known by: model, data set and number of examples."""
        return self.model, self.dataset, self.examples

    @property
    def shots(self) -> str:
        """The number of examples in words."""
        return f"{self.examples} example{'' if self.examples == 1 else 's'}"


def read_icl(run: Run, metric: str) -> list[IclRow]:
    """A row for every model, data set and number of examples of the plan, with or without a result.

    Args:
        run: the run folder.
        metric: key of the metric that the best number of examples is chosen by.
    """
    return _mark_best([_icl_row(run, jobs) for jobs in _by_examples(run.plan.icl_jobs)], metric)


def _icl_row(run: Run, jobs: Sequence[IclJob]) -> IclRow:
    results = [result for job in jobs if (result := run.icl(job))]
    done = {result.seed for result in results}
    errors = {
        job.seed: failure.error for job in jobs if job.seed not in done and (failure := run.failure(run.icl_file(job)))
    }
    damaged = {
        job.seed: fault.what
        for job in jobs
        if job.seed not in errors and (fault := run.reading.faults.get(run.icl_file(job)))
    }
    open_seeds = [str(job.seed) for job in jobs if job.seed not in {*done, *errors, *damaged}]
    notes = [f"seed {seed} failed: {last_line(error)}" for seed, error in errors.items()]
    notes += [f"the result of seed {seed} is damaged: {what}" for seed, what in damaged.items()]
    if open_seeds:
        notes.append(f"not run yet: seed{'s' if len(open_seeds) > 1 else ''} {', '.join(open_seeds)}")
    blocks = [flatten(result.metrics) for result in results]
    keys = dict.fromkeys(key for block in blocks for key in block)
    values = {key: tuple(value for block in blocks if (value := block.get(key)) is not None) for key in keys}
    memory = [result.peak_memory_mib for result in results if result.peak_memory_mib is not None]
    seconds = [result.seconds for result in results if result.seconds is not None]
    return IclRow(
        model=jobs[0].model,
        dataset=jobs[0].dataset,
        examples=jobs[0].examples,
        planned=len(jobs),
        done=len(results),
        seeds=tuple(result.seed for result in results),
        note="; ".join(notes) or None,
        errors=errors,
        metrics={key: Spread(numbers) for key, numbers in values.items() if numbers},
        items=results[0].items if results else None,
        seconds=fmean(seconds) if seconds else None,
        peak_memory_mib=max(memory, default=None),
    )


def _by_examples(jobs: Sequence[IclJob]) -> list[list[IclJob]]:
    groups: dict[tuple[str, str, int], list[IclJob]] = {}
    for job in jobs:
        groups.setdefault((job.model, job.dataset, job.examples), []).append(job)
    return list(groups.values())


def _mark_best(rows: list[IclRow], metric: str) -> list[IclRow]:
    best: dict[tuple[str, str], IclRow] = {}
    for row in sorted(rows, key=lambda row: row.examples):
        key = (row.model, row.dataset)
        if metric in row.metrics and (key not in best or row.metrics[metric].mean > best[key].metrics[metric].mean):
            best[key] = row
    return [replace(row, best=best.get((row.model, row.dataset)) is row) for row in rows]
