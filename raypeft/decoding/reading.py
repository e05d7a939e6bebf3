"""Reads prompts once an item and hands what was read to ``generate``, already expanded to the beams.

The measure of what is right is the forward pass in which the adapter was trained, ``PeftModel.forward``:

- LoRA, IA3 and their kin live in the base model's layers: nothing to add.
- Prompt tuning and P-tuning put embeddings of virtual tokens before the text: of the prompt in a decoder, of the
  **encoder's** input in an encoder-decoder. For the latter peft also counts (and saves) a second set of virtual tokens
  for the decoder, which neither ``PeftModelForSeq2SeqLM.forward`` nor its ``generate`` reads; nor does this module.
- Prefix tuning puts keys and values before those of the text in every layer of the decoder, also in encoder-decoders,
  where the encoder and the cross-attention see none of it (peft#2989).
"""

from collections.abc import Sequence
from typing import Any

import torch
from peft import PeftModel, PeftType
from transformers import Cache, DynamicCache, PreTrainedModel

from raypeft.decoding.cache import encoder_decoder, spread
from raypeft.errors import UserError

EMBEDDED = {PeftType.PROMPT_TUNING, PeftType.P_TUNING}


def base_of(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return the transformers model inside, with the layers of an adapter in place."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def virtual_kind(model: PreTrainedModel | PeftModel) -> PeftType | None:
    """Return the technique of an adapter made of virtual tokens, None for every other model.

    Raises:
        UserError: if the adapter is of a prompt-learning technique that the decoder does not know.
    """
    if not isinstance(model, PeftModel) or not model.active_peft_config.is_prompt_learning:
        return None
    kind = PeftType(model.active_peft_config.peft_type)
    if kind is not PeftType.PREFIX_TUNING and kind not in EMBEDDED:
        raise UserError(f"decoding with {kind.value} adapters is not supported")
    return kind


def read_decoder_prompts(
    model: PreTrainedModel | PeftModel, prompts: Sequence[Sequence[int]], *, pad: int, beams: int, room: int
) -> dict[str, Any]:
    """Read all but the last token of each prompt into one cache.

    The cache is laid out [virtual tokens][tokens common to all prompts][padding][rest of the prompt]; the first two are
    computed once for the batch. Padding between them and the text of an item changes nothing: its keys are masked, and
    positions count the unmasked places only, as the training pass counts them.

    Args:
        model: decoder-only model or adapter.
        prompts: token ids, at least one a prompt.
        pad: token id for the padding.
        beams: rows of the cache for each prompt.
        room: new tokens to make place for in the cache.

    Returns:
        Arguments for ``generate``: the last token of each prompt, the mask of the whole prompts, the cache. Only the
        cache is expanded to the beams; ``generate`` expands the rest.
    """
    base = base_of(model)
    device = base.device
    cache = _virtual_cache(model)
    common = _common_length([prompt[:-1] for prompt in prompts])
    virtual = cache.get_seq_length()
    if common:
        _read(base, cache, torch.tensor([prompts[0][:common]], device=device), torch.ones(1, virtual + common))
    cache.batch_repeat_interleave(len(prompts))

    width = max(len(prompt) for prompt in prompts) - 1 - common
    rests = [list(prompt[common:-1]) for prompt in prompts]
    ids = torch.tensor([[pad] * (width - len(rest)) + rest for rest in rests], dtype=torch.long, device=device)
    mask = torch.ones(len(prompts), virtual + common + width + 1, dtype=torch.long, device=device)
    for row, rest in enumerate(rests):
        mask[row, virtual + common : virtual + common + width - len(rest)] = 0
    if width:
        _read(base, cache, ids, mask[:, :-1])
    last = torch.tensor([[prompt[-1]] for prompt in prompts], device=device)
    return {"input_ids": last, "attention_mask": mask, "past_key_values": spread(cache, beams, room)}


def read_encoder_inputs(
    model: PreTrainedModel | PeftModel, prompts: Sequence[Sequence[int]], *, pad: int, beams: int, room: int
) -> dict[str, Any]:
    """Run the encoder over right-padded inputs.

    Args:
        model: encoder-decoder model or adapter.
        prompts: token ids of the encoder's inputs, at least one an input.
        pad: token id for the padding.
        beams: rows of the decoder's cache for each input.
        room: new tokens to make place for in the cache.

    Returns:
        Arguments for ``generate``: encoder states, their mask, the decoder's cache. Only the cache is expanded to the
        beams; ``generate`` expands the rest.
    """
    base = base_of(model)
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[*prompt, *[pad] * (width - len(prompt))] for prompt in prompts], device=base.device)
    mask = torch.tensor([[1] * len(prompt) + [0] * (width - len(prompt)) for prompt in prompts], device=base.device)
    inputs = {"input_ids": ids}
    cache: Cache = DynamicCache(config=base.config.get_text_config(decoder=True))
    kind = virtual_kind(model)
    if kind is PeftType.PREFIX_TUNING:
        cache = model.get_prompt(batch_size=len(prompts)).self_attention_cache
    elif kind is not None:
        virtual = model.get_prompt(batch_size=len(prompts))[:, : model.active_peft_config.num_virtual_tokens]
        embeddings = base.get_input_embeddings()(ids)
        inputs = {"inputs_embeds": torch.cat((virtual.to(embeddings.dtype), embeddings), dim=1)}
        mask = torch.cat((mask.new_ones(virtual.shape[:2]), mask), dim=1)
    states = base.get_encoder()(**inputs, attention_mask=mask, return_dict=True)
    return {
        "encoder_outputs": states,
        "attention_mask": mask,
        "past_key_values": encoder_decoder(spread(cache, beams, room)),
    }


def _common_length(sequences: Sequence[Sequence[int]]) -> int:
    """Length of the longest prefix that all sequences share."""
    columns = zip(*sequences, strict=False)
    differs = (at for at, column in enumerate(columns) if len(set(column)) > 1)
    return next(differs, min(len(sequence) for sequence in sequences))


def _virtual_cache(model: PreTrainedModel | PeftModel) -> Cache:
    """Keys and values of a decoder-only adapter's virtual tokens, for one row; empty for every other model."""
    kind = virtual_kind(model)
    if kind is PeftType.PREFIX_TUNING:
        return model.get_prompt(batch_size=1)
    base = base_of(model)
    cache = DynamicCache(config=base.config)
    if kind is not None:
        embeddings = model.get_prompt(batch_size=1).to(base.get_input_embeddings().weight.dtype)
        base.base_model(inputs_embeds=embeddings, past_key_values=cache, use_cache=True)
    return cache


def _read(base: PreTrainedModel, cache: Cache, ids: torch.Tensor, mask: torch.Tensor) -> None:
    """Append the keys and values of ids [rows, length] to the cache; the mask covers the cache and the ids."""
    mask = mask.to(device=ids.device, dtype=torch.long)
    positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    # The body of the model, without its head: no logits over the vocabulary for tokens that are not predicted.
    base.base_model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
