"""What of a plan is done already, in its own run folder or in others, and how long the rest takes."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from raypeft.errors import UserError
from raypeft.estimate.cost import Cost, Pace
from raypeft.hub.study import cached, needs, revisions
from raypeft.runs.folder import Run
from raypeft.runs.manifest import foreseen
from raypeft.runs.offers import Offer, offers, open_work
from raypeft.runs.records import Manifest, Report
from raypeft.spec.plan import Cell, IclJob, Plan
from raypeft.spec.resolve import ResolvedStudy, differences


@dataclass(frozen=True)
class Outlook:
    """What is done of a plan.

    Attributes:
        changes: how the study differs from the one that its run folder was made by; then nothing there counts.
        ended: trials that have ended, by cell.
        tested: tests with a result.
        icl: in-context-learning runs with a result.
        offers: what other runs have finished of the rest.
    """

    changes: list[str]
    ended: Mapping[str, int]
    tested: Collection[tuple[Cell, str]]
    icl: Collection[IclJob]
    offers: Sequence[Offer]

    @property
    def trials(self) -> int:
        """Trials that have ended."""
        return sum(self.ended.values())

    @property
    def jobs(self) -> int:
        """Tests and in-context-learning runs with a result."""
        return len(self.tested) + len(self.icl)

    def seconds_left(self, cost: Cost) -> float:
        """Of what is neither done nor offered."""
        taken = [offer for offer in self.offers if not offer.versions]
        plan, offered = cost.plan, {cell for offer in taken for cell in offer.cells}
        cells = [cell for cell in plan.cells if cell not in offered]
        jobs = {job for offer in taken for job in offer.jobs} | set(self.icl)
        trials = sum(
            (plan.resolved.study.trials - self.ended.get(cell.id, 0)) * cost.trial_seconds(cell) for cell in cells
        )
        tests = sum(
            cost.test_seconds(cell, dataset)
            for cell in cells
            for dataset in plan.tests(cell)
            if (cell, dataset) not in self.tested
        )
        return trials + tests + sum(cost.icl_seconds(job) for job in plan.icl_jobs if job not in jobs)


def outlook(
    plan: Plan, run: Run | None, sources: Sequence[Run], absent: Collection[str], *, any_version: bool = False
) -> Outlook:
    """Look at a plan's run, and at the runs that it would take finished cells from.

    Args:
        plan: the plan.
        run: what its folder holds, if it is to be gone on with.
        sources: other runs.
        absent: models and data sets that cannot be read here.
        any_version: whether what was computed with other versions counts as the same.
    """
    if run is None or not (run.study_file.exists() and run.begun):
        return Outlook(
            [], {}, [], [], _offers(plan, Manifest(), absent, plan.cells, plan.icl_jobs, sources, any_version)
        )
    if changes := _changes(run, plan.resolved):
        return Outlook(changes, {}, [], [], [])
    cells, jobs = open_work(run, plan)
    ids = {cell.id for cell in plan.cells}
    return Outlook(
        [],
        Counter(end.cell for end in run.trials() if end.cell in ids),
        [(cell, dataset) for cell, dataset in plan.test_jobs if run.test(cell, dataset)],
        [job for job in plan.icl_jobs if job not in jobs],
        _offers(plan, run.manifest(), absent, cells, jobs, sources, any_version),
    )


def pace_of(cost: Cost, reports: Iterable[Report]) -> Pace:
    """The pace of the trials that a run of a plan has reported on, finished or not, against its estimates.

    Args:
        cost: the estimates, uncorrected.
        reports: of the run.
    """
    last: dict[str, tuple[Report, float, float]] = {}
    decoded: Counter[str] = Counter()
    for report in reports:
        training, evaluation = report.training_seconds, report.evaluation_seconds
        if report.report > 0 and None not in (report.validation_loss, training, evaluation):
            last[report.trial] = (report, training or 0.0, evaluation or 0.0)
        decoded[report.trial] += bool(report.em10_computed)
    sums: dict[tuple[str, str], list[float]] = {}
    for trial, (report, trained, evaluated) in last.items():
        cell, number = Cell.parse(report.cell), report.report
        training = cost.training_seconds(cell) * number / cost.plan.reports
        evaluation = (number + 1) * cost.loss_seconds(cell) + decoded[trial] * cost.em_seconds(cell)
        known = sums.setdefault((cell.model, cell.technique), [0.0] * 4)
        new = (trained, training, evaluated, evaluation)
        sums[cell.model, cell.technique] = [one + other for one, other in zip(known, new, strict=True)]
    return Pace(
        {key: real / estimated for key, (real, estimated, _, _) in sums.items()},
        {key: real / estimated for key, (_, _, real, estimated) in sums.items()},
        len(last),
    )


def _offers(
    plan: Plan,
    manifest: Manifest,
    absent: Collection[str],
    cells: Sequence[Cell],
    jobs: Sequence[IclJob],
    sources: Sequence[Run],
    any_version: bool,
) -> list[Offer]:
    """Offers for what the manifest, or else this machine, has models and data of."""
    if not sources:
        return []
    if manifest.written:
        plan = Plan(plan.resolved.pinned(manifest.revisions))
    else:
        elsewhere = {cell.model for source in sources for cell in source.plan.cells}
        plan, manifest = _foreseen(plan, {*absent, *(plan.resolved.models.keys() - elsewhere)})
    models, data = manifest.models, manifest.datasets
    known = [cell for cell in cells if cell.model in models and {cell.dataset, *plan.tests(cell)} <= data.keys()]
    known_jobs = [job for job in jobs if job.model in models and job.dataset in data]
    return offers(plan, manifest, known, known_jobs, sources, any_version=any_version)


def _foreseen(plan: Plan, absent: Collection[str]) -> tuple[Plan, Manifest]:
    """The plan with what is on the hub at the commits that the cache has, and what a manifest would say of it."""
    here = {need: commit for need in needs(plan.resolved) if (commit := cached(need))}
    absent = {*absent, *(need.name for need in needs(plan.resolved) if need not in here)}
    pinned = Plan(plan.resolved.pinned(revisions(here)))
    return pinned, foreseen(pinned, absent)


def _changes(run: Run, resolved: ResolvedStudy) -> list[str]:
    try:
        return differences(ResolvedStudy.load(run.study_file), resolved)
    except UserError as error:
        return [error.what]
