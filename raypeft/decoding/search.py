"""Beam search over many prompts, in batches sorted by length."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteriaList

from raypeft.decoding.candidate import BeamSettings, Candidate
from raypeft.decoding.criteria import AllBeamsEnd, ForgetScores, StopStringEnd
from raypeft.decoding.reading import base_of, read_decoder_prompts, read_encoder_inputs
from raypeft.decoding.stop import LITERAL_ENDS, cut
from raypeft.errors import UserError


def decode(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    settings: BeamSettings,
    *,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> list[list[Candidate]]:
    """Find the best continuations of each prompt by beam search.

    The search is that of ``transformers`` with its default ending: an item is done when it has as many finished
    candidates as beams and no running beam, scored as if it ended now, beats the worst of them
    (``early_stopping=False``). What stop strings end says `settings.stop_rule`. Sampling and penalty settings that a
    checkpoint brings along in its generation configuration are ignored.

    In fp32 the candidates do not depend on the batch size; in half precision rounding does, and with it the ranks of
    candidates that are close.

    Args:
        model: decoder-only or encoder-decoder model, or a peft adapter around one. It is evaluated without dropout and
            left in the modes it came in.
        tokenizer: its tokenizer; its end-of-sequence token ends a candidate, and so do those of the model's generation
            configuration that are special tokens.
        prompts: token ids of each full prompt, or of each encoder input.
        settings: beams, candidates, length and stop strings.
        batch_size: prompts searched together; each takes ``settings.beams`` rows of the model's batch.
        progress: called after each batch with the number of prompts it held.

    Returns:
        ``settings.candidates`` candidates for each prompt, best first, in the order of the prompts.

    Raises:
        UserError: if the tokenizer has no end-of-sequence token, a prompt is empty or the batch size is below 1.
    """
    _check(tokenizer, prompts, batch_size)
    base = base_of(model)
    ends = _end_ids(base, tokenizer, settings.end_ids)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    config = GenerationConfig(
        num_beams=settings.beams,
        num_return_sequences=settings.candidates,
        max_new_tokens=settings.max_new_tokens,
        do_sample=False,
        early_stopping=False,
        length_penalty=1.0,
        use_cache=True,
        eos_token_id=ends,
        pad_token_id=pad,
        decoder_start_token_id=getattr(base.config, "decoder_start_token_id", None),
        return_dict_in_generate=True,
        output_scores=True,
    )
    criteria = _criteria(tokenizer, settings, ends)
    shape = {"pad": pad, "beams": settings.beams, "room": settings.max_new_tokens}
    read = read_encoder_inputs if base.config.is_encoder_decoder else read_decoder_prompts

    longest_first = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    results: list[list[Candidate]] = [[] for _ in prompts]
    with _evaluating(model, base), torch.no_grad():
        for start in range(0, len(prompts), batch_size):
            batch = longest_first[start : start + batch_size]
            inputs = read(model, [prompts[index] for index in batch], **shape)
            output = base.generate(**inputs, generation_config=config, stopping_criteria=criteria)
            lengths = (output.beam_indices >= 0).sum(dim=1).tolist()
            rows = [row[1 : 1 + length] for row, length in zip(output.sequences.tolist(), lengths, strict=True)]
            texts = _texts(tokenizer, rows, {*ends, *_literal_end_ids(tokenizer)}, settings)
            found = map(Candidate, texts, output.sequences_scores.tolist())
            del inputs, output  # and with them the cache, before the next batch makes its own
            for index in batch:
                results[index] = list(islice(found, settings.candidates))
            if progress is not None:
                progress(len(batch))
    return results


def _check(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[int]], batch_size: int) -> None:
    if tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no end-of-sequence token", where=tokenizer.name_or_path or None)
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}, but must be at least 1")
    for index, prompt in enumerate(prompts):
        if not len(prompt):
            raise UserError("the prompt has no tokens", where=f"prompt {index}")


def _end_ids(base: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, further: Sequence[int]) -> list[int]:
    """End-of-sequence ids, the tokenizer's own first, then the further ones."""
    named = base.generation_config.eos_token_id
    named = [] if named is None else [named] if isinstance(named, int) else list(named)
    # Configurations carry default ids that mean an ordinary word in another vocabulary, hence only special tokens.
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return list(dict.fromkeys([tokenizer.eos_token_id, *further, *(index for index in named if index in special)]))


def _literal_end_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the literal end markers where the vocabulary has them as one token, which decoding would drop."""
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[marker] for marker in LITERAL_ENDS if marker in vocabulary]


def _criteria(tokenizer: PreTrainedTokenizerBase, settings: BeamSettings, ends: list[int]) -> StoppingCriteriaList:
    # generate() sees one token before the new ones: the last of the prompt, or the decoder's start token.
    if settings.stop_rule == "package":
        stops = (*settings.stop_strings, *LITERAL_ENDS)
        return StoppingCriteriaList([AllBeamsEnd(tokenizer, stops, 1, settings.beams, ends), ForgetScores()])
    each = [StopStringEnd(tokenizer, stop, start=1) for stop in settings.stop_strings]
    return StoppingCriteriaList([*each, ForgetScores()])


def _texts(
    tokenizer: PreTrainedTokenizerBase, rows: list[list[int]], ends: set[int], settings: BeamSettings
) -> list[str]:
    kept = [row[: next((at for at, token in enumerate(row) if token in ends), len(row))] for row in rows]
    texts = tokenizer.batch_decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    if settings.stop_rule == "package":
        texts = [text.strip() for text in texts]
    return [cut(text, settings.stop_strings) for text in texts]


@contextmanager
def _evaluating(model: PreTrainedModel | PeftModel, base: PreTrainedModel) -> Iterator[None]:
    """Put the model into evaluation mode with a blank generation configuration, and put both back afterwards.

    ``generate`` fills what a given configuration leaves open from the model's own, so that must be out of the way.
    """
    training = [module for module in model.modules() if module.training]
    generation_config = base.generation_config
    model.eval()
    base.generation_config = GenerationConfig()
    try:
        yield
    finally:
        base.generation_config = generation_config
        for module in training:
            module.training = True
