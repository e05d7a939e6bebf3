"""Whether a decoder sees only what comes before: with later tokens in sight it would be trained on its own answers."""

from typing import Any

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

from raypeft.errors import UserError

TOKENS = 6  # of the sequences that are compared
# Largest change of earlier logits by rounding, as a share of the change at the last token: in fp32, and in half or
# quantised precision, where experts and outliers are rounded by what stands beside them.
ROUNDING = 1e-4
COARSE_ROUNDING = 0.1
HINT = "Take a causal language model (decoder), or an encoder-decoder."


def check_class(config: Any, source: str, where: str) -> None:
    """Check that a configuration without an encoder is one of a decoder, as far as it says so itself.

    Args:
        config: of transformers.
        source: hub id or folder it comes from.
        where: key of the model, for messages.

    Raises:
        UserError: it is of an encoder, or asks for attention to later tokens.
    """
    if config.is_encoder_decoder:
        return
    kind, text = config.model_type, config.get_text_config()
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not getattr(config, "auto_map", None):
        raise UserError(f"{source} is a {kind} model, which does not write text", where=where, hint=HINT)
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING
    if encoder and not (getattr(config, "is_decoder", False) or getattr(config, "causal", False)):
        raise _bidirectional(f"{source} is an encoder ({kind})", where)
    for key, values in (("is_causal", (False,)), ("use_bidirectional_attention", (True, "all"))):
        if (value := getattr(text, key, None)) in values and value is not None:
            raise _bidirectional(f"config.json of {source} says {key}: {str(value).lower()}", where)


@torch.no_grad()
def check_causal(model: Any, source: str, where: str) -> None:
    """Check on a loaded model that its logits are numbers, and that another last token leaves earlier ones unchanged.

    Raises:
        UserError: its attention is bidirectional, or its logits are not numbers.
    """
    first = torch.arange(TOKENS, device=model.device) + 3
    both = torch.stack([first, first]) % model.get_input_embeddings().weight.shape[0]
    both[1, -1] = both[0, 0]
    if model.config.is_encoder_decoder:
        logits = model(input_ids=both[:1].expand(2, -1), decoder_input_ids=both, use_cache=False).logits.float()
    else:
        logits = model(input_ids=both, use_cache=False).logits.float()
    if not logits.isfinite().all():
        raise UserError(
            f"{source} gives values that are not finite numbers in {str(model.dtype).removeprefix('torch.')}",
            where=where,
            hint="Its weights are damaged, or exceed this precision: --set training.precision=fp32",
        )
    changes = (logits[0] - logits[1]).abs().amax(-1)
    coarse = getattr(model, "is_quantized", False) or model.dtype != torch.float32
    if changes[:-1].max() > (COARSE_ROUNDING if coarse else ROUNDING) * changes[-1]:
        raise _bidirectional(f"the logits of {source} change with later tokens", where)


def _bidirectional(what: str, where: str) -> UserError:
    return UserError(f"{what}: its attention is bidirectional, so it would see the answer", where=where, hint=HINT)
