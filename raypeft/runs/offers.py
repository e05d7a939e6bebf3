"""What other runs have finished of a plan, known by the identity of cells and in-context-learning runs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raypeft.runs.folder import Run
from raypeft.runs.identity import RESULTS_VERSION, cell_identity, icl_identity, precision_of
from raypeft.runs.records import IclResult, Manifest, Outcome, Selection, State
from raypeft.spec.plan import Cell, IclJob, Plan
from raypeft.spec.technique import Technique

SHARED_BASE = 1
"""The version of results in which nothing proved that one technique left the base model whole for the next."""
HARMLESS_CLASSES = {
    None,
    "LoraConfig",
    "IA3Config",
    "PromptTuningConfig",
    "PrefixTuningConfig",
    "AdaLoraConfig",
    "VeraConfig",
    "PromptEncoderConfig",
}
HARMLESS_ARGUMENTS = {
    "target_modules",
    "feedforward_modules",
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_dora",
    "use_rslora",
    "init_r",
    "target_r",
    "total_step",
    "tinit",
    "tfinal",
    "deltaT",
    "orth_reg_weight",
    "num_virtual_tokens",
    "prompt_tuning_init",
    "prompt_tuning_init_text",
    "prefix_projection",
    "encoder_reparameterization_type",
    "encoder_hidden_size",
    "d_initial",
    "vera_dropout",
    "learning_rate",
}
COMPUTING = ("torch", "transformers", "peft", "bitsandbytes")
REPEATABLE = {State.FINISHED, State.STOPPED, State.NAN}


@dataclass(frozen=True)
class Offer:
    """What a run has finished of another run's plan.

    Attributes:
        folder: of the run that has it.
        versions: which other versions it was computed with that may compute otherwise; then it is not taken.
    """

    folder: Path
    cells: list[Cell]
    jobs: list[IclJob]
    versions: str = ""

    def text(self, *, names: bool) -> str:
        """How much it is, and of which cells."""
        listed = f" ({', '.join(cell.id for cell in self.cells)})" if names else ""
        parts = [_count(len(self.cells), "cell") + listed] if self.cells else []
        parts += [_count(len(self.jobs), "in-context-learning run")] if self.jobs else []
        return " and ".join(parts)

    @property
    def refusal(self) -> str:
        """Why it is not taken, for its versions."""
        what = f"{self.text(names=False)} of {self.folder}"
        return f"Not taken over: {what}, computed with {self.versions}; --reuse-any-version takes them over"

    def without(self, cells: Iterable[Cell], jobs: Iterable[IclJob]) -> tuple[list[Cell], list[IclJob]]:
        """What is not offered."""
        return [cell for cell in cells if cell not in self.cells], [job for job in jobs if job not in self.jobs]


def offers(
    plan: Plan,
    manifest: Manifest,
    cells: Sequence[Cell],
    jobs: Sequence[IclJob],
    sources: Iterable[Run],
    *,
    any_version: bool = False,
) -> list[Offer]:
    """What `reuse` would take, and what it would not for its versions; nothing is taken.

    Args:
        plan: the plan.
        manifest: of its run, or what `raypeft.runs.manifest.foreseen` knows of it.
        cells: of the plan that have not begun.
        jobs: of the plan that have no result.
        sources: runs to look in.
        any_version: whether what was computed with other versions counts as the same.
    """
    found = []
    for source in sources:
        offer = offer_of(plan, manifest, cells, jobs, source, any_version=any_version)
        if not offer.versions:
            cells, jobs = offer.without(cells, jobs)
        found += [offer] if offer.cells or offer.jobs else []
    return found


def open_work(run: Run, plan: Plan) -> tuple[list[Cell], list[IclJob]]:
    """Cells of a plan that have not begun in its run, and in-context-learning runs without a result."""
    begun = {report.cell for report in run.reports()} | {end.cell for end in run.trials()}
    cells = [cell for cell in plan.cells if cell.id not in begun and run.selection(cell) is None]
    return cells, [job for job in plan.icl_jobs if run.icl(job) is None]


def offer_of(
    plan: Plan,
    manifest: Manifest,
    cells: Iterable[Cell],
    jobs: Iterable[IclJob],
    source: Run,
    *,
    any_version: bool = False,
) -> Offer:
    """What one run has finished of the given cells and jobs of a plan: the same by identity, and whole."""
    others = "" if any_version else other_versions(source.manifest(), manifest.versions, breaking=True)
    version = source.manifest().results_version
    if version != RESULTS_VERSION and not (version == SHARED_BASE and left_bases_whole(source.plan)):
        return Offer(source.folder, [], [])
    found = Offer(
        source.folder,
        [cell for cell in cells if _same_cell(plan, manifest, source, cell)],
        [job for job in jobs if _same_job(plan, manifest, source, job)],
        others,
    )
    if version == RESULTS_VERSION:
        return found
    # what it took over itself may come from a run that did not
    return Offer(
        source.folder,
        [cell for cell in found.cells if _is_own(source.selection(cell)) and not _rest_was_fp32(source, cell)],
        [job for job in found.jobs if _is_own(source.icl(job))],
        others,
    )


def other_versions(manifest: Manifest, here: Mapping[str, str], *, breaking: bool = False) -> str:
    """In which versions of the packages that compute a run's manifest differs from those here.

    Args:
        manifest: the run's.
        here: versions by package.
        breaking: name only those that may compute otherwise, by semantic versioning: another major version, of 0.x
            another minor one; not a package that one of the two does without.
    """
    there = manifest.versions
    return ", ".join(
        f"{name} {there.get(name, 'not recorded')} (here {here.get(name, 'not installed')})"
        for name in COMPUTING
        if there.get(name) != here.get(name)
        and not (breaking and (name not in there or name not in here or _major(there[name]) == _major(here[name])))
    )


def _major(version: str) -> str:
    """The numbers of a version up to the first that is not 0."""
    return re.sub(r"^((0\.)*\d*).*", r"\1", version)


def left_bases_whole(plan: Plan) -> bool:
    """Whether all results of a plan made at version 1 can be trusted: every technique in it left the base model as it
    was, whatever the order, since one worker runs many cells.
    """
    return all(_is_harmless(technique) for technique in plan.resolved.techniques.values())


def doubts(run: Run) -> list[str]:
    """What of a run's own results cannot be trusted, one line each: a technique may have damaged the base of others."""
    if run.manifest().results_version != SHARED_BASE or left_bases_whole(run.plan):
        return []
    suspects = [name for name, technique in run.plan.resolved.techniques.items() if not _is_harmless(technique)]
    return [
        f"This run began with a version of raypeft that did not prove that {', '.join(suspects)} left the base model "
        "whole for other trials: what it computed then may be wrong. Start anew with --fresh, or with another --out."
    ]


def _rest_was_fp32(source: Run, cell: Cell) -> bool:
    """Whether a cell of version 1 had fp32 beside quantised weights where half precision was asked for."""
    quantized = source.plan.resolved.techniques[cell.technique].quantization is not None
    return quantized and precision_of(source.plan, source.manifest(), cell.model) != "fp32"


def _is_harmless(technique: Technique) -> bool:
    arguments = {name: value for name, value in technique.arguments.items() if (name, value) != ("bias", "none")}
    return technique.peft in HARMLESS_CLASSES and {*arguments, *technique.search} <= HARMLESS_ARGUMENTS


def _same_cell(plan: Plan, manifest: Manifest, source: Run, cell: Cell) -> bool:
    if cell not in source.plan.cells:
        return False
    selection = source.selection(cell)
    if not selection or not selection.trial or not set(selection.trials or ()) <= REPEATABLE:
        return False
    for dataset in source.plan.tests(cell):
        test = source.test(cell, dataset)
        if not _is_whole(plan, manifest, cell.model, source, test, source.predictions_file(cell, dataset)):
            return False
    return cell_identity(source.plan, source.manifest(), cell) == cell_identity(plan, manifest, cell)


def _same_job(plan: Plan, manifest: Manifest, source: Run, job: IclJob) -> bool:
    if job not in source.plan.icl_jobs:
        return False
    predictions = source.icl_file(job).with_suffix(".jsonl")
    if not _is_whole(plan, manifest, job.model, source, source.icl(job), predictions):
        return False
    return icl_identity(source.plan, source.manifest(), job) == icl_identity(plan, manifest, job)


def _is_whole(
    plan: Plan, manifest: Manifest, model: str, source: Run, result: Outcome | None, predictions: Path
) -> bool:
    """Whether a result was computed in what the plan's model will compute in, as far as it says so itself, and still
    has the predictions it was computed from; older ones do not say which.
    """
    here = precision_of(plan, manifest, model)
    if result is None or here is None or result.precision not in (None, here):
        return False
    return not result.predictions_sha256 or bool(source.predictions(predictions))


def _is_own(record: Selection | IclResult | None) -> bool:
    """Whether a run has computed it itself."""
    return record is None or record.origin is None


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
