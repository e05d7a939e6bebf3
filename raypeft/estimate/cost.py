"""What a study costs: seconds on a machine from a model of throughput, corrected by what a run has measured, and disk.

A pass over n tokens takes the longer of its arithmetic (2 floating-point operations a weight and token) and of reading
the weights once, and a fixed time beside. A backward pass takes as much arithmetic as a forward pass
with an adapter, twice as much in full fine-tuning. Assumptions stand below, and in docs/studies.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from raypeft.estimate.footprint import shape_of
from raypeft.estimate.machines import PAPER, Machine
from raypeft.spec.catalogue import Split
from raypeft.spec.plan import Cell, IclJob, Plan

QUANTISED_BYTES = {"8bit": 1.0, "4bit": 0.5}
SLOWDOWN = {None: 1.0, "8bit": 2.0, "4bit": 1.5}  # arithmetic with quantised weights
SEQUENCE_SHARE = 1 / 3  # tokens of a mean sequence, of prompt and code limits together
DECODED_SHARE = 0.8  # of the code limit, until a batch's last beam has ended
IMPROVING_SHARE = 0.5  # reports with a new best loss, at which EM@10 is computed
ADAPTER_SHARE = 0.01  # weights of an adapter, of the model's
PARAMETERS = 10**9  # of a model that does not say, and has no shape
ITEMS: Mapping[Split, int] = {"train": 2000, "validation": 200, "test": 500}  # of a data set that does not say
CHECKPOINTS = 2  # best and last, of every trial


@dataclass(frozen=True)
class Pace:
    """How much longer training and evaluation take than estimated, by (model, technique), and what that rests on."""

    training: Mapping[tuple[str, str], float] = field(default_factory=dict)
    evaluation: Mapping[tuple[str, str], float] = field(default_factory=dict)
    trials: int = 0

    @staticmethod
    def of(factors: Mapping[tuple[str, str], float], model: str, technique: str | None) -> float:
        """The factor of a model and technique; else the mean over the model's techniques; else over all; else 1."""
        if technique is not None and (model, technique) in factors:
            return factors[model, technique]
        same = [factor for (name, _), factor in factors.items() if name == model] or list(factors.values())
        return sum(same) / len(same) if same else 1.0


@dataclass(frozen=True)
class Cost:
    """Estimates for a plan.

    Attributes:
        plan: what is to be done.
        items: items of the splits of each data set, where they are known, subsets not applied.
        pace: corrections from measured trials.
        machine: what it runs on.
    """

    plan: Plan
    items: Mapping[str, Mapping[Split, int]] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    machine: Machine = PAPER

    @property
    def share(self) -> float:
        """Of the machine, what one trial takes: GPUs, or the part of a processor that its trials at a time leave it."""
        return (
            (self.plan.resolved.study.resources.gpus_per_trial or 1) if self.machine.gpu else 1 / self.machine.at_once
        )

    def count(self, dataset: str, split: Split) -> int:
        """Items of a split as the study uses it."""
        entry = self.plan.resolved.datasets[dataset]
        if entry.join:
            return sum(self.count(part, split) for part in entry.join)
        known = self.items.get(dataset, {}).get(split) or ITEMS[split]
        return min(known, getattr(self.plan.resolved.study.data, split) or known)

    @cached_property
    def reports(self) -> float:
        """Reports of a mean trial if early stopping lets just the best 1/factor past each rung."""
        stopping, reports = self.plan.resolved.study.stopping, float(self.plan.reports)
        if stopping is None:
            return reports
        ends = [*self.plan.rungs, reports]
        return ends[0] + sum(
            (end - start) / stopping.factor ** (index + 1) for index, (start, end) in enumerate(pairwise(ends))
        )

    def trial_seconds(self, cell: Cell, reports: float | None = None) -> float:
        """Training and evaluation of one trial up to a report; if none is given, of a mean one."""
        reports = self.reports if reports is None else reports
        training = self.training_seconds(cell) * reports / self.plan.reports
        by_em = self.plan.resolved.study.validation.select_by == "em@10"
        decoded = reports + 1 if by_em else IMPROVING_SHARE * reports + len(self.plan.rungs) + 2
        evaluation = (reports + 1) * self.loss_seconds(cell) + min(decoded, reports + 1) * self.em_seconds(cell)
        return self._paced(cell, training, evaluation)

    def test_seconds(self, cell: Cell, dataset: str) -> float:
        """One test of a cell's selected weights."""
        technique = self.plan.resolved.techniques[cell.technique]
        seconds = self._decoding(cell.model, dataset, self.count(dataset, "test"), technique.quantization, examples=0)
        return self._paced(cell, 0.0, seconds)

    def icl_seconds(self, job: IclJob) -> float:
        """One in-context-learning run."""
        seconds = self._decoding(job.model, job.dataset, self.count(job.dataset, "test"), None, examples=job.examples)
        return seconds * Pace.of(self.pace.evaluation, job.model, None)

    def cell_seconds(self, cell: Cell, reports: float | None = None) -> float:
        """All trials and tests of a cell."""
        tests = sum(self.test_seconds(cell, dataset) for dataset in self.plan.tests(cell))
        return self.plan.resolved.study.trials * self.trial_seconds(cell, reports) + tests

    def seconds(self, reports: float | None = None) -> float:
        """Everything: all cells and in-context-learning runs."""
        cells = sum(self.cell_seconds(cell, reports) for cell in self.plan.cells)
        return cells + sum(map(self.icl_seconds, self.plan.icl_jobs))

    def run_bytes(self) -> float:
        """The most that the run folder comes to hold: checkpoints, selected weights, predictions."""
        predictions = sum(self._prediction_bytes(job.dataset) for job in self.plan.icl_jobs)
        running = CHECKPOINTS * max(map(self._weight_bytes, self.plan.cells)) if self._keeps_best else 0.0
        return sum(map(self._cell_bytes, self.plan.cells)) + predictions + running

    def download_bytes(self, model: str) -> float:
        """Half-precision weights of a model."""
        return 2.0 * self._weights[model]

    def training_seconds(self, cell: Cell) -> float:
        """Training through the last epoch, without evaluation, as the throughput model has it."""
        training, technique = self.plan.resolved.study.training, self.plan.resolved.techniques[cell.technique]
        steps = training.steps(self.count(cell.dataset, "train"))
        passes = training.batch // (training.micro_batch or training.batch)
        tokens = training.batch / passes * self._sequence(cell.dataset)
        forward = self._pass(cell.model, tokens, technique.quantization)
        backward = (2 if technique.kind == "full" else 1) + (1 if training.gradient_checkpointing else 0)
        return steps * passes * forward * (1 + backward)

    def loss_seconds(self, cell: Cell) -> float:
        """Validation loss, once."""
        tokens = self.count(cell.dataset, "validation") * self._sequence(cell.dataset)
        return self._pass(cell.model, tokens, self.plan.resolved.techniques[cell.technique].quantization)

    def em_seconds(self, cell: Cell) -> float:
        """EM@10 on the validation items, once."""
        wanted, items = self.plan.resolved.study.validation.em_items, self.count(cell.dataset, "validation")
        chosen = items if wanted == "all" else min(wanted, items)
        technique = self.plan.resolved.techniques[cell.technique]
        return self._decoding(cell.model, cell.dataset, chosen, technique.quantization, examples=0)

    def _decoding(self, model: str, dataset: str, items: int, quantization: str | None, *, examples: int) -> float:
        test, entry = self.plan.resolved.study.test, self.plan.resolved.datasets[dataset]
        batches = -(-items // test.decode_batch)
        sequences = test.decode_batch * test.beams
        step = self._pass(model, sequences, quantization)
        reading = self._pass(model, test.decode_batch * (examples + 1) * self._sequence(dataset), quantization)
        return batches * (reading + DECODED_SHARE * entry.max_code_tokens * step)

    def _pass(self, model: str, tokens: float, quantization: str | None) -> float:
        weights = self._weights[model]
        arithmetic = 2 * weights * tokens * SLOWDOWN[quantization] / self.machine.arithmetic
        size = self.machine.weight_bytes if quantization is None else QUANTISED_BYTES[quantization]
        return self.machine.pass_seconds + max(arithmetic, weights * size / self.machine.reading)

    def _paced(self, cell: Cell, training: float, evaluation: float) -> float:
        of = (cell.model, cell.technique)
        return training * Pace.of(self.pace.training, *of) + evaluation * Pace.of(self.pace.evaluation, *of)

    def _sequence(self, dataset: str) -> float:
        entry = self.plan.resolved.datasets[dataset]
        return SEQUENCE_SHARE * (entry.max_prompt_tokens + entry.max_code_tokens)

    @cached_property
    def _weights(self) -> dict[str, int]:
        """Of each model."""
        known = {}
        for name, entry in self.plan.resolved.models.items():
            shape = None if entry.parameters else shape_of(entry)
            known[name] = entry.parameters or (shape.weights if shape else PARAMETERS)
        return known

    @property
    def _keeps_best(self) -> bool:
        return self.plan.resolved.study.resources.keep_checkpoints == "best"

    def _cell_bytes(self, cell: Cell) -> float:
        kept = 1 if self._keeps_best else CHECKPOINTS * self.plan.resolved.study.trials
        predictions = sum(self._prediction_bytes(dataset) for dataset in self.plan.tests(cell))
        return self._weight_bytes(cell) * (1 + kept) + predictions

    def _weight_bytes(self, cell: Cell) -> float:
        full = self.plan.resolved.techniques[cell.technique].kind == "full"
        return 4.0 * self._weights[cell.model] * (1.0 if full else ADAPTER_SHARE)

    def _prediction_bytes(self, dataset: str) -> float:
        candidate = 3 * self.plan.resolved.datasets[dataset].max_code_tokens
        return self.count(dataset, "test") * (500 + self.plan.resolved.study.test.candidates * candidate)
