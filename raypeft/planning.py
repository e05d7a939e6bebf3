"""What a study would do and cost: what `raypeft study NAME --plan` prints and `Study.plan()` gives."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from raypeft.data.sources import read_split
from raypeft.errors import UserError
from raypeft.estimate.cost import Cost
from raypeft.estimate.footprint import Footprint, device_of, footprint
from raypeft.estimate.machines import PAPER, machine_here
from raypeft.estimate.memory import GIB
from raypeft.hub.study import Need, cached, needs
from raypeft.output.console import LinesTable, in_one_line, lines_table, table_lines
from raypeft.output.text import one_line, size
from raypeft.runs.folder import Run
from raypeft.runs.outlook import Outlook, outlook, pace_of
from raypeft.spec.catalogue import SPLITS, Split, local_folder
from raypeft.spec.plan import Cell, Plan
from raypeft.spec.resolve import ResolvedStudy

if TYPE_CHECKING:
    import pandas

HOUR = 3600.0


@dataclass(frozen=True)
class StudyPlan:
    """What a study would do, what that costs, what of it is done, and what is not here; nothing is computed.

    Printed, it is what `raypeft study NAME --plan` shows; a notebook shows its table of cells.

    Attributes:
        plan: cells, trials, rungs and jobs.
        cost: estimated time and disk; trials measured in the run folder correct it.
        footprints: estimated memory of each cell, none where nothing of its model is known.
    """

    plan: Plan
    cost: Cost
    footprints: Mapping[Cell, Footprint | None]
    folder: Path
    found: Outlook
    unreadable: Mapping[str, str]

    @property
    def cells(self) -> "pandas.DataFrame":
        """One row a cell: model, data set, technique, trials, hours, what is searched, and whether it fits."""
        import pandas

        study = self.plan.resolved.study
        return pandas.DataFrame(
            {
                "model": cell.model,
                "dataset": cell.dataset,
                "technique": cell.technique,
                "trials": study.trials,
                "hours": self.cost.cell_seconds(cell) * self.cost.share / HOUR,
                "searched": self._searched(cell),
                "fits": None if (found := self.footprints[cell]) is None else found.fits,
            }
            for cell in self.plan.cells
        )

    @property
    def memory(self) -> "pandas.DataFrame":
        """Estimated peaks in GiB, a row a cell: of training and of decoding, by what takes them."""
        import pandas

        return pandas.DataFrame(
            {"cell": cell.id, "phase": phase, "term": term, "gib": size / GIB}
            for cell, found in self.footprints.items()
            if found is not None
            for phase, terms in (("training", found.estimate.training), ("decoding", found.estimate.decoding))
            for term, size in terms.items()
        )

    @property
    def hours(self) -> float:
        """Expected hours of all of it, on one card or on this machine's processor."""
        return self.cost.seconds() * self.cost.share / HOUR

    @cached_property
    def table(self) -> LinesTable:
        """The table of cells."""
        limit = self.plan.resolved.study.resources.gpu_memory_gb
        fits = [] if limit is None else [f"fits {limit:g} GiB"]
        headings = ["train GiB", "decode GiB", "most by", *fits]
        table = lines_table(
            *["model", "dataset", "technique", "trials", "hours", *headings, "searched"],
            right=("trials", "hours", "train GiB", "decode GiB"),
        )
        for cell in self.plan.cells:
            hours = _hours(self.cost.cell_seconds(cell) * self.cost.share)
            trials = str(self.plan.resolved.study.trials)
            memory = _memory(self.footprints[cell], limited=limit is not None)
            table.add_row(cell.model, cell.dataset, cell.technique, trials, hours, *memory, self._searched(cell))
        return table

    @property
    def lines(self) -> list[str]:
        """All of it as text."""
        study = self.plan.resolved.study
        head = [f"Study {self.plan.resolved.name}: {study.question}", ""]
        return [*map(in_one_line, head), *table_lines(self.table), *map(in_one_line, self._below())]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        below = "\n".join(map(in_one_line, self._below()))
        return f"{self.cells.to_html(index=False, escape=True)}<pre>{html.escape(below)}</pre>"

    def _searched(self, cell: Cell) -> str:
        resolved = self.plan.resolved
        if resolved.study.mode == "search":
            return ", ".join(resolved.techniques[cell.technique].search)
        return f"nothing: {resolved.point_name(cell.technique, resolved.points[cell.technique])}"

    def _below(self) -> list[str]:
        plan, cost, folder = self.plan, self.cost, self.folder
        resolved, study = plan.resolved, plan.resolved.study
        reports = f"{plan.reports} reports (every {study.training.evaluate_every:g} epoch) and one before training"
        by_loss = study.validation.select_by == "loss"
        jobs = len(plan.test_jobs) + len(plan.icl_jobs)
        wanted = [need for need in needs(_without(resolved, self.unreadable)) if cached(need) is None]
        return [
            "",
            f"Trial      at most {study.training.epochs:g} epochs: {reports}",
            *_memory_remarks(plan, list(self.footprints.values())),
            f"Protocol   {_protocol(plan)}",
            f"Stopping   {_stopping(plan)}",
            f"Selection  {'lowest validation loss' if by_loss else 'highest validation EM@10'}",
            f"Test       {len(plan.test_jobs)} jobs, {study.test.beams} beams, {study.test.candidates} candidates",
            f"ICL        {len(plan.icl_jobs)} jobs{_draws(plan)}",
            *(f"           without {line}" for line in _skipped(plan)),
            f"Total      {len(plan.cells)} cells, {plan.trials} trials, {jobs} jobs",
            *_done(plan, self.found, folder),
            *_time(cost, folder),
            *_left(cost, self.found),
            f"Disk       about {size(cost.run_bytes())} in {folder}, {_kept(plan)} included",
            *_absent(cost, wanted, self.unreadable),
        ]


def planned(
    resolved: ResolvedStudy, folder: Path, sources: Sequence[Run], *, fresh: bool = False, any_version: bool = False
) -> StudyPlan:
    """Look at what a study would do.

    Args:
        resolved: the study.
        folder: its run folder, whose measured trials correct the estimates, where there is one.
        sources: runs that finished cells would be taken from.
        any_version: also those that were computed with other versions.
        fresh: what the folder holds would be removed.
    """
    plan = Plan(resolved)
    items, unreadable = _read(resolved)
    return StudyPlan(
        plan,
        _corrected(Cost(plan, items, machine=machine_here(resolved.study.resources)), Run(folder)),
        {cell: footprint(plan, cell) for cell in plan.cells},
        folder,
        outlook(plan, None if fresh else Run(folder.resolve()), sources, unreadable, any_version=any_version),
        unreadable,
    )


def _kept(plan: Plan) -> str:
    every = plan.resolved.study.resources.keep_checkpoints == "all"
    return "checkpoints of all trials" if every else "the best checkpoint of every cell"


def _protocol(plan: Plan) -> str:
    chosen = plan.resolved.study.protocol.model_dump(exclude_defaults=True)
    return ", ".join(f"{key} {value}" for key, value in chosen.items()) or "nothing but defaults"


def _corrected(cost: Cost, run: Run) -> Cost:
    """Estimates at the pace of what a run has measured, where there is one."""
    try:
        same = run.plan.cells
    except UserError:
        return cost
    known = {cell.id for cell in cost.plan.cells} & {cell.id for cell in same}
    return replace(cost, pace=pace_of(cost, (report for report in run.reports() if report.cell in known)))


def _read(resolved: ResolvedStudy) -> tuple[dict[str, Mapping[Split, int]], dict[str, str]]:
    """Items of the data sets' splits where they are known, and what of models and data sets is not there, with why."""
    items: dict[str, Mapping[Split, int]] = {}
    wrong = {}
    for name, model in resolved.models.items():
        try:
            model.path(f"models.{name}.folder")
        except UserError as error:
            wrong[name] = error.what
    for name, entry in resolved.datasets.items():
        if entry.expected_items:
            items[name] = entry.expected_items
        try:
            if entry.join is None and local_folder(name, entry) is not None and not entry.expected_items:
                items[name] = {split: len(read_split(name, entry, split).items) for split in SPLITS}
        except UserError as error:
            in_file = error.where is not None and not error.where.startswith("catalogue.")
            wrong[name] = f"{error.where}: {error.what}" if in_file else error.what
    return items, wrong


def _without(resolved: ResolvedStudy, names: Mapping[str, str]) -> ResolvedStudy:
    kept = {
        kind: {name: entry for name, entry in entries.items() if name not in names}
        for kind, entries in (("models", resolved.models), ("datasets", resolved.datasets))
    }
    return resolved.model_copy(update=kept)


def _done(plan: Plan, found: Outlook, folder: Path) -> list[str]:
    """What the run folder and other runs have of it already."""
    if found.changes:
        lines = [f"{folder} holds a run of another version of this study: --fresh, or another --out", *found.changes]
    else:
        jobs = len(plan.test_jobs) + len(plan.icl_jobs)
        done = f"{found.trials} of {plan.trials} trials and {found.jobs} of {jobs} jobs, in {folder}"
        lines = [done] * bool(found.trials or found.jobs)
        lines += [
            offer.refusal if offer.versions else f"{offer.text(names=False)}, to be taken over from {offer.folder}"
            for offer in found.offers
        ]
    return [f"{'' if index else 'Done':11}{line}" for index, line in enumerate(lines)]


def _left(cost: Cost, found: Outlook) -> list[str]:
    """Hours of what is left, where something is done."""
    if not (found.trials or found.jobs or found.offers):
        return []
    seconds = found.seconds_left(cost) * cost.share
    return [f"           of which {f'about {_hours(seconds)} hours are' if seconds else 'nothing is'} left"]


def _time(cost: Cost, folder: Path) -> list[str]:
    """Hours: expected, at most, and what they rest on; without measured trials also those of the paper's card."""
    plan = cost.plan
    expected, longest = cost.seconds(), cost.seconds(plan.reports)
    icl = sum(map(cost.icl_seconds, plan.icl_jobs))
    icl_part = f", {_hours(icl * cost.share)} of them for ICL" if plan.icl_jobs else ""
    longest_part = f"; {_hours(longest * cost.share)} if no trial is stopped early" if longest > expected else ""
    lines = [f"Time       about {_hours(expected * cost.share)} hours{icl_part}{longest_part}"]
    if cost.pace.trials:
        return [*lines, f"           at the pace of {cost.pace.trials} measured trials in {folder}"]
    one = "one " if cost.machine.gpu else ""
    lines.append(
        f"           on {one}{cost.machine.name}, by assumptions (docs/studies.md) that measured trials correct"
    )
    if cost.machine != PAPER:
        there = replace(cost, machine=PAPER)
        lines.append(f"           about {_hours(there.seconds() * there.share)} on one {PAPER.name}, the paper's card")
    return lines


def _absent(cost: Cost, wanted: Sequence[Need], unreadable: Mapping[str, str]) -> list[str]:
    """What is to be fetched, what needs a licence accepted, and what cannot be read."""
    models = [need.name for need in wanted if need.kind == "model"]
    data = [need.name for need in wanted if need.kind == "dataset"]
    lines = [f"{len(models)} models, about {size(sum(map(cost.download_bytes, models)))}: {', '.join(models)}"] * bool(
        models
    )
    lines += [f"{len(data)} data sets: {', '.join(data)}"] * bool(data)
    lines += ["raypeft fetch gets them from the hub"] * bool(lines)
    lines = [f"{'Not here' if index == 0 else '':11}{line}" for index, line in enumerate(lines)]
    if gated := [need for need in wanted if need.gated]:
        lines.append(
            f"Gated      {', '.join(f'{need.name} ({need.repo})' for need in gated)}: accept the licence first"
        )
    return lines + [
        f"Missing    {name}: {one_line(reason.replace(chr(10), '; '))}" for name, reason in unreadable.items()
    ]


def _hours(seconds: float) -> str:
    hours = seconds / HOUR
    if 0 < hours < 0.005:
        return "< 0.01"
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2f}"


def _stopping(plan: Plan) -> str:
    stopping = plan.resolved.study.stopping
    if stopping is None:
        return "no early stopping"
    if not plan.rungs:
        return "no rung before the last report, so no early stopping"
    return f"ASHA keeps the best 1/{stopping.factor} at reports {', '.join(map(str, plan.rungs))}"


def _draws(plan: Plan) -> str:
    icl = plan.resolved.study.icl
    if icl is None:
        return ""
    once = " (zero examples once)" if 0 in icl.examples else ""
    return f": {', '.join(map(str, icl.examples))} examples x {len(icl.seeds)} seeds{once}"


def _skipped(plan: Plan) -> list[str]:
    """Pairs of models and data sets that in-context learning leaves out, by reason."""
    icl, pairs = plan.resolved.study.icl, dict.fromkeys((cell.model, cell.dataset) for cell in plan.cells)
    left_out: dict[str, list[str]] = {}
    for model, dataset in pairs:
        if icl is not None and (reason := icl.skipped(model, dataset)):
            left_out.setdefault(reason, []).append(f"{model} on {dataset}")
    return [f"{', '.join(names)}: {reason}" for reason, names in left_out.items()]


def _memory(found: Footprint | None, *, limited: bool) -> list[str]:
    """Estimated peaks of training and decoding, what takes most, and whether it fits."""
    if found is None:
        return ["?", "?", "model unknown", *(["?"] if limited else [])]
    about = "~" if found.rough else ""
    sizes = [about + gib(terms) for terms in (found.estimate.training, found.estimate.decoding)]
    fits = [] if found.fits is None else [found.fits.upper() if found.fits == "no" else found.fits]
    return [*sizes, found.estimate.largest, *fits]


def _memory_remarks(plan: Plan, found: Sequence[Footprint | None]) -> list[str]:
    where = "a GPU" if device_of(plan.resolved.study.resources) == "gpu" else "a CPU"
    lines = [f"Memory     estimated for {where}, the largest trial of each cell with all items at the token limits"]
    if any(footprint and footprint.rough for footprint in found):
        lines.append("           ~ from the number of weights alone: the model has no shape in the catalogue")
    if any(footprint is None for footprint in found):
        lines.append("           ? neither shape nor number of weights of the model is known")
    fits = [footprint.fits for footprint in found if footprint]
    if any(fit not in (None, "yes", "no") for fit in fits):
        lines.append("           smaller batches are found by the trial itself; the effective batch stays")
    if unfit := fits.count("no"):
        lines.append(f"           NO: not even one item at a time, so {unfit} of {len(fits)} cells would end as oom")
    return lines


def gib(terms: Mapping[str, float]) -> str:
    """The sum of the terms in GiB."""
    return f"{sum(terms.values()) / GIB:.1f}"
