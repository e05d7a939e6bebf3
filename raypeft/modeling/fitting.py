"""Whether a model goes with its tokenizer, and its positions with the lengths of prompts and code."""

from collections.abc import Sequence
from typing import Any

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
