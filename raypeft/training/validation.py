"""Validation of a model in training: loss on the code, and EM@10 by beam search."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from raypeft.data.encoding import IGNORED, Collator, Encoded
from raypeft.decoding import BeamSettings
from raypeft.decoding.fitting import decode_fitting
from raypeft.decoding.reading import base_of, virtual_kind
from raypeft.metrics.exact_match import match_rank


@torch.no_grad()
def validation_loss(
    model: Any, collator: Collator, items: Sequence[Encoded], *, bf16: bool, batch_size: int = 8
) -> float:
    """Mean negative log-likelihood in nats a target token, over all items together.

    It does not depend on how the items are batched, so that trials with different micro-batches compare, nor has it
    what peft's wrapper adds to the loss in training (AdaLoRA's regularisation).
    """
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    precision = torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else nullcontext()
    scored = model if virtual_kind(model) else base_of(model)
    ordered = sorted(items, key=lambda item: len(item.prompt) + len(item.target))
    total, count = 0.0, 0
    for start in range(0, len(ordered), batch_size):
        batch = collator([collator.features(item) for item in ordered[start : start + batch_size]])
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        # The loss of the first target token counts too: for a decoder it is predicted by the prompt's last token.
        tokens = int((batch["labels"] != IGNORED).sum())
        with precision:
            total += float(scored(**batch).loss) * tokens
        count += tokens
    model.train(training)
    return total / count


def em_at_10(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    references: Sequence[str],
    settings: BeamSettings,
    batch_size: int,
) -> tuple[float, int]:
    """Share of items, in percent, whose reference is among the first ten candidates (paper, section 4.5).

    They are found as in the test: in half precision accelerate has what it trains compute under autocast, which is left
    out here.

    Returns:
        The share, and the batch size that memory allowed.
    """
    with _without_autocast(base_of(model)):
        found, batch_size = decode_fitting(model, tokenizer, prompts, settings, batch_size=batch_size)
    hits = sum(
        (rank := match_rank(reference, [candidate.text for candidate in candidates])) is not None and rank <= 10
        for reference, candidates in zip(references, found, strict=True)
    )
    return 100 * hits / len(references), batch_size


@contextmanager
def _without_autocast(base: Any) -> Iterator[None]:
    """The forward pass that accelerate has replaced (`Accelerator.prepare_model`), in its place meanwhile."""
    if "_original_forward" not in vars(base):
        yield
        return
    replacement, base.forward = base.forward, base._original_forward
    try:
        yield
    finally:
        base.forward = replacement
