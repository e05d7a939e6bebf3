"""The sections of a study: how to search, train, validate and test, with how much of the data, on what."""

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from raypeft.spec.loading import Inconsistent, Strict
from raypeft.spec.values import Count, Each, Flag, Line, Real, Seed, Short, Whole, distinct

Distinct = Annotated[list[Each], Field(min_length=1), AfterValidator(distinct), Short]
Names = Distinct[Annotated[str, Field(min_length=1, max_length=4_000)]]
Groups = Annotated[dict[Line, Names], Field(min_length=1), Short]
Batch = Annotated[Whole, Field(gt=0, le=65_536)]
Beams = Annotated[Whole, Field(ge=2, le=1_000)]
NamesOrGroups = Annotated[
    Annotated[Names, Tag("names")] | Annotated[Groups, Tag("groups")],
    Discriminator(lambda value: "groups" if isinstance(value, dict) else "names"),
]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Attention = Literal["auto", "eager", "sdpa", "flash_attention_2"]
QuantizedRest = Literal["half", "fp32"]
MOST_REPORTS = 10_000
SMALLEST_SHARE = 0.01  # of a GPU
PAPER_SEEDS = [42, 777, 5432, 55555, 97]


def smaller_micro(batch: int, micro: int) -> int:
    """Half a micro-batch, or the number next below that divides the batch."""
    return max(size for size in range(1, micro // 2 + 1) if batch % size == 0)


class Search(Strict):
    """Hyperparameter search inside each cell, for studies whose mode is `search`.

    Attributes:
        trials: hyperparameter points a cell; the first is the paper's.
        sampler: Optuna sampler: `tpe` learns from the cell's earlier trials, `random` does not.
        seed: seed of the suggestions.
    """

    trials: Annotated[Whole, Field(gt=0, le=10_000)] = 8
    sampler: Literal["tpe", "random"] = "tpe"
    seed: Seed = 42


class EarlyStopping(Strict):
    """Asynchronous successive halving inside each cell (Li et al., 2020).

    Attributes:
        grace: reports before a trial can be stopped.
        factor: of the trials at a rung, the best 1/factor go on.
    """

    grace: Count = 5
    factor: Annotated[Whole, Field(ge=2, le=10_000)] = 3


class Training(Strict):
    """How a trial is trained.

    Attributes:
        epochs: most epochs of a trial.
        batch: effective batch size.
        micro_batch: sequences a forward pass; the rest of the batch is accumulated.
        optimizer: `adafactor` is the paper's.
        warmup: share of the steps with a rising learning rate, which then falls linearly to zero.
        weight_decay: the paper has none.
        evaluate_every: epochs between reports.
        precision: `auto` is bf16 on GPUs that have it, fp16 on others, fp32 without a GPU. T5 models, which overflow in
            fp16, take fp32 instead. Trainable weights are always fp32.
        quantized_rest: precision of what a quantised model keeps unquantised (embeddings, norms, output layer), and
            with it of hidden states, key-value cache and logits: `half` is `precision`, as the paper's package has it;
            `fp32` is that of `peft.prepare_model_for_kbit_training`.
        attention: implementation of attention; `auto` is SDPA where the model has it, else `eager`.
        gradient_checkpointing: computes activations again in the backward pass instead of keeping them. Prefix tuning
            does without, since its keys and values would be dropped.
        seed: of initialisation, data order and dropout.
    """

    epochs: Annotated[Real, Field(gt=0, le=10_000)] = 5
    batch: Batch = 8
    micro_batch: Batch | None = None
    optimizer: Literal["adafactor", "adamw_torch"] = "adafactor"
    warmup: Annotated[Real, Field(ge=0, lt=1)] = 0.05
    weight_decay: Annotated[Real, Field(ge=0, le=1_000)] = 0.0
    evaluate_every: Annotated[Real, Field(ge=0.0001)] = 0.2
    precision: Precision = "auto"
    quantized_rest: QuantizedRest = "half"
    attention: Attention = "auto"
    gradient_checkpointing: Flag = False
    seed: Seed = 42

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong = []
        if self.micro_batch is not None and self.batch % self.micro_batch:
            wrong.append(("micro_batch", f"is {self.micro_batch}, but must divide batch ({self.batch})"))
        if self.evaluate_every > self.epochs:
            wrong.append(
                ("evaluate_every", f"is {self.evaluate_every:g}, but must not exceed epochs ({self.epochs:g})")
            )
        elif self.reports > MOST_REPORTS:
            wrong.append(
                ("evaluate_every", f"makes {self.reports} reports a trial, but at most {MOST_REPORTS} will do")
            )
        if wrong:
            raise Inconsistent(wrong)
        return self

    def steps(self, items: int) -> int:
        """Optimiser steps of a trial that runs to its end; the last batch of an epoch may be smaller."""
        return round(self.epochs * -(-items // self.batch))

    @property
    def reports(self) -> int:
        """Reports of a trial that runs to its end, not counting the one before training."""
        return round(self.epochs / self.evaluate_every)


class Validation(Strict):
    """How trials are compared.

    Attributes:
        select_by: `loss` takes a cell's checkpoint of lowest validation loss, `em@10` that of highest EM@10.
        em_items: validation items that EM@10 is computed on, a seeded subset, or `all`.
    """

    select_by: Literal["loss", "em@10"] = "loss"
    em_items: Count | Literal["all"] = "all"


class Test(Strict):
    """Final decoding: beam search, also used for EM@10 during training.

    Attributes:
        beams: beam width, at least 2.
        candidates: ranked candidates kept an item.
        decode_batch: items decoded together.
    """

    __test__ = False

    beams: Beams = 10
    candidates: Annotated[Whole, Field(gt=0, le=1_000)] = 10
    decode_batch: Batch = 16

    @model_validator(mode="after")
    def _enough_beams(self) -> Self:
        if self.candidates > self.beams:
            raise Inconsistent([("candidates", f"is {self.candidates}, but must not exceed beams ({self.beams})")])
        return self


class Skip(Strict):
    """Models and data sets that in-context learning leaves out: every pair of the two; absent, all of them.

    Attributes:
        models, datasets: names, as the study has them.
        reason: why, for the plan and the report.
    """

    models: Names | None = None
    datasets: Names | None = None
    reason: Line


class Icl(Strict):
    """In-context learning: the base model with examples in its prompt.

    Attributes:
        examples: numbers of examples; each seed draws its own, the same for every test item. Zero runs once.
        seeds: of the draws.
        skip: what is left out.
    """

    examples: Distinct[Annotated[Whole, Field(ge=0, le=10_000)]] = [0, 1, 2, 3]
    seeds: Distinct[Seed] = PAPER_SEEDS
    skip: Annotated[list[Skip], Short] = []

    def skipped(self, model: str, dataset: str) -> str | None:
        """Why a model on a data set is left out; none where it is not."""
        for skip in self.skip:
            if model in (skip.models or [model]) and dataset in (skip.datasets or [dataset]):
                return skip.reason
        return None


class Subsets(Strict):
    """Seeded subsets of the splits, for runs that must fit a small machine; nothing means the whole split."""

    train: Count | None = None
    validation: Count | None = None
    test: Count | None = None
    seed: Seed = 42


def _share(gpus: float) -> float:
    if 0 < gpus < SMALLEST_SHARE:
        raise ValueError(f"should be 0, or at least {SMALLEST_SHARE}")
    return gpus


class Resources(Strict):
    """What a trial gets.

    Attributes:
        gpus_per_trial: one, a share of one, or none; where there are no GPUs, none.
        cpus_per_trial: cores of a trial, and its torch threads; a GPU trial reserves no more than there are.
        concurrent: most trials at a time; nothing means as many as fit.
        gpu_memory_gb: GPU memory of a trial or job in GiB, as a card of that size has it; nothing means the whole card.
        keep_checkpoints: best and last of every trial, or of the ended trials of a cell just the best one.
    """

    gpus_per_trial: Annotated[Real, Field(ge=0, le=1), AfterValidator(_share)] = 1
    cpus_per_trial: Annotated[Whole, Field(gt=0, le=10_000)] = 1
    concurrent: Annotated[Whole, Field(gt=0, le=100_000)] | None = None
    gpu_memory_gb: Annotated[Real, Field(ge=0.1, le=100_000)] | None = None
    keep_checkpoints: Literal["all", "best"] = "all"


Effective = Literal["fp32", "bf16", "fp16"]

# Their activations exceed the range of fp16, and the loss becomes NaN.
OVERFLOW_IN_FP16 = frozenset({"t5", "mt5", "umt5", "longt5", "switch_transformers"})
BF16_CAPABILITY = 8.0  # of the first NVIDIA GPUs that compute in bf16


def effective(precision: Precision, model_type: str, *, gpu: bool, bf16: bool) -> Effective:
    """What a base model computes in.

    `auto` is bf16 on GPUs that have it, fp16 on others, and fp32 without a GPU. Models that overflow in fp16 take fp32
    wherever fp16 is asked for or chosen.

    Args:
        precision: as the study asks.
        model_type: of the model's transformers configuration.
        gpu: whether there is a GPU.
        bf16: whether it computes in bf16.
    """
    if precision == "auto":
        precision = ("bf16" if bf16 else "fp16") if gpu else "fp32"
    return "fp32" if precision == "fp16" and model_type in OVERFLOW_IN_FP16 else precision


def foreseen_precision(
    precision: Precision, model_type: str | None, capabilities: Collection[float] | None
) -> Effective | None:
    """What a base model will compute in on a machine's GPUs, none where that cannot be told.

    Args:
        precision: as the study asks.
        model_type: as above; none where it is not known.
        capabilities: compute capabilities of the GPUs that trials may run on, none where they are not known.
    """
    if capabilities is None and precision == "auto":
        return None
    kinds = {
        effective(precision, model_type or "", gpu=True, bf16=capability >= BF16_CAPABILITY)
        for capability in capabilities or ()
    } or {effective(precision, model_type or "", gpu=False, bf16=False)}
    if len(kinds) > 1 or (model_type is None and "fp16" in kinds):
        return None
    return kinds.pop()
