"""Whether model, tokenizer and data fit each other, and whether a model reads in one direction only."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

from raypeft.errors import UserError
from raypeft.modeling.weights import listed_first

POSITIONS = "max_position_embeddings"


def check_tokenizer(tokenizer: Any, model: Any, source: str, where: str) -> None:
    """Check that a tokenizer has a token that ends a text, and none that the model has no embedding for.

    Special tokens that no text is given by itself may lie beyond the embeddings: Code Llama's tokenizer adds some to
    models that were not trained to fill in.

    Args:
        tokenizer: of the model.
        model: loaded, or its skeleton.
        source: hub id or folder they come from.
        where: key of the model, for messages.

    Raises:
        UserError: with everything that is wrong.
    """
    rows, wrong = embeddings(model), []
    if tokenizer.eos_token_id is None:
        wrong.append("it has no end-of-sequence token, so that no code would end: name one in tokenizer_config.json")
    unused = set(tokenizer.all_special_ids) - {tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id}
    beyond = sorted(
        (index, token) for token, index in tokenizer.get_vocab().items() if index >= rows and index not in unused
    )
    if beyond:
        tokens = listed_first([f"{token!r} ({index})" for index, token in beyond])
        wrong.append(f"{len(beyond)} of its tokens lie beyond the model's {rows} embeddings: {tokens}")
    if wrong:
        what = f"the tokenizer of {source} does not go with the model: " + "; ".join(wrong)
        raise UserError(what, where=where, hint="Take the tokenizer that the model was trained with.")


def embeddings(model: Any) -> int:
    """For how many token ids a model has an embedding."""
    size = getattr(model.config.get_text_config(), "vocab_size", None)
    return int(size or model.get_input_embeddings().weight.shape[0])


def positions(config: Any) -> int | None:
    """The longest sequence that a configuration provides for; none where it has no limit."""
    limit = getattr(config.get_text_config(), POSITIONS, None)
    return limit if isinstance(limit, int) and limit > 0 else None


def needed_positions(prompt: int, code: int, virtual: int, encoder_decoder: bool) -> int:
    """Positions that a longest prompt and a longest code take, after virtual tokens."""
    return virtual + (max(prompt, code) if encoder_decoder else prompt + code)


def check_prompts(model: Any, prompts: Sequence[Sequence[int]], code: int, where: str) -> None:
    """Check that a model has an embedding for each token of prompts, and positions for them with the code after them.

    Args:
        model: the base model.
        prompts: token ids.
        code: most tokens that follow.
        where: key of the model, for messages.

    Raises:
        UserError: a token or a length that the model was not made for.
    """
    rows, limit = embeddings(model), positions(model.config)
    if (highest := max((max(ids, default=0) for ids in prompts), default=0)) >= rows:
        raise UserError(f"a text has the token {highest}, but the model has {rows} embeddings", where=where)
    longest = max((len(ids) for ids in prompts), default=0)
    needed = needed_positions(longest, code, 0, model.config.is_encoder_decoder)
    if limit is not None and needed > limit:
        raise UserError(
            f"a prompt of {longest} tokens and code of up to {code} need {needed} positions, but the model has {limit} "
            f"({POSITIONS} in its config.json)",
            where=where,
            hint="Take fewer examples (icl.examples), or lower max_prompt_tokens or max_code_tokens of the data set.",
        )


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
