"""What a trial trains and validates on, encoded once a worker for each model and data set."""

from collections import Counter
from dataclasses import dataclass

from raypeft.data.chat import prompts_for
from raypeft.data.encoding import Collator, Encoded, Limits, encode, full_lengths
from raypeft.data.prompts import Prompts
from raypeft.data.sources import load_split, subset
from raypeft.decoding import BeamSettings
from raypeft.modeling.fitting import check_prompts
from raypeft.modeling.loading import Base
from raypeft.spec.catalogue import Architecture, DatasetEntry
from raypeft.spec.plan import Plan


@dataclass(frozen=True)
class TrialData:
    """Encoded splits of a data set for one tokenizer.

    Attributes:
        train, validation: encoded items.
        collator: makes batches of them.
        em_prompts, em_references: the items that EM@10 is computed on.
        beams: how they are decoded.
        shortened: how many items were cut to the token limits, by split and part.
    """

    train: list[Encoded]
    validation: list[Encoded]
    collator: Collator
    em_prompts: list[list[int]]
    em_references: list[str]
    beams: BeamSettings
    shortened: dict[str, int]


def prompts_of(plan: Plan, base: Base) -> Prompts:
    """How a loaded model is prompted in a study.

    Raises:
        UserError: by chat, but its tokenizer has no chat template.
    """
    return prompts_for(plan.resolved.study.protocol, base.name, base.entry, base.tokenizer, base.architecture)


def limits_of(plan: Plan, entry: DatasetEntry) -> Limits:
    """The data set's token limits, applied as the study's protocol says."""
    return Limits(entry.max_prompt_tokens, entry.max_code_tokens, plan.resolved.study.protocol.truncation)


def beam_settings(plan: Plan, entry: DatasetEntry, prompts: Prompts) -> BeamSettings:
    """The study's beam search with the data set's limits."""
    study = plan.resolved.study
    return BeamSettings(
        study.test.beams,
        study.test.candidates,
        entry.max_code_tokens,
        tuple(entry.stop_strings),
        study.protocol.stop_rule,
        (prompts.end,),
    )


def trial_data(plan: Plan, base: Base, dataset: str) -> TrialData:
    """Load and encode the training and validation splits of a data set.

    Raises:
        UserError: the data cannot be read, or the model has no embedding for a token, or too few positions.
    """
    study, datasets = plan.resolved.study, plan.resolved.datasets
    entry = datasets[dataset]
    prompts, limits = prompts_of(plan, base), limits_of(plan, entry)
    splits = {split: load_split(datasets, dataset, split, study.data) for split in ("train", "validation")}
    encoded = {split: [encode(prompts, item, limits) for item in items] for split, items in splits.items()}
    for items in encoded.values():
        check_prompts(base.model, _texts(items, base.architecture), 0, f"models.{base.name}")
    em_items = None if study.validation.em_items == "all" else study.validation.em_items
    chosen = subset(range(len(splits["validation"])), em_items, f"{study.data.seed}:em")
    shortened = Counter(f"{split}.{part}" for split, items in encoded.items() for item in items for part in item.cut)
    return TrialData(
        train=encoded["train"],
        validation=encoded["validation"],
        collator=_collator(plan, base, prompts, limits),
        em_prompts=[encoded["validation"][index].prompt for index in chosen],
        em_references=[splits["validation"][index].code for index in chosen],
        beams=beam_settings(plan, entry, prompts),
        shortened=dict(shortened),
    )


def _texts(items: list[Encoded], architecture: Architecture) -> list[list[int]]:
    """Sequences that a model reads: of an encoder-decoder, prompts and targets each by themselves."""
    if architecture == "decoder":
        return [item.prompt + item.target for item in items]
    return [ids for item in items for ids in (item.prompt, item.target)]


def validation_items(plan: Plan, base: Base, dataset: str) -> tuple[list[Encoded], Collator]:
    """The encoded validation split of a data set, and what makes batches of it.

    Raises:
        UserError: the data cannot be read.
    """
    datasets = plan.resolved.datasets
    prompts, limits = prompts_of(plan, base), limits_of(plan, datasets[dataset])
    items = load_split(datasets, dataset, "validation", plan.resolved.study.data)
    return [encode(prompts, item, limits) for item in items], _collator(plan, base, prompts, limits)


def _collator(plan: Plan, base: Base, prompts: Prompts, limits: Limits) -> Collator:
    least = full_lengths(prompts, limits) if plan.resolved.study.protocol.padding == "full" else (0, 0)
    return Collator(base.tokenizer.pad_token_id, base.architecture, least)
