"""Caches for beams: what an item's beams have in common is written once and never moved.

Beam search replaces beams by copies of others of the same item at every step. A plain cache then copies all keys and
values, the long common part with the few new ones, and copies them again to append the next token.
"""

import torch
from transformers import Cache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer


class BeamLayer(DynamicLayer):
    """Keys and values of one layer: what was read before the search, then the beams' own tokens, in one buffer.

    Args:
        keys: keys read before the search, (items, heads, length, width).
        values: values read before the search, likewise.
        beams: rows for each item.
        room: new tokens there is place for.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, beams: int, room: int) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.read = keys.shape[-2]
        self.buffers = [_buffer(states, beams, room) for states in (keys, values)]
        self._show(self.read)

    def _show(self, length: int) -> None:
        self.keys, self.values = (buffer[..., :length, :] for buffer in self.buffers)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values in place and return all of them."""
        start, new = self.get_seq_length(), key_states.shape[-2]
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer.narrow(-2, start, new).copy_(states)
        self._show(start + new)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Move only the new tokens: a beam's replacement comes from the same item."""
        new = slice(self.read, self.get_seq_length())
        for buffer in self.buffers:
            buffer[..., new, :] = buffer[..., new, :].index_select(0, beam_idx.to(buffer.device))


class CommonLayer(DynamicLayer):
    """Keys and values that are the same for all beams of an item, as those of the encoder's states."""

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Nothing to move."""


def spread(cache: Cache, beams: int, room: int) -> Cache:
    """Give each row of the cache its beams.

    Args:
        cache: keys and values for one row an item.
        beams: rows for each item afterwards.
        room: new tokens to make place for.

    Returns:
        The same cache. Layers that keep no more than a sliding window, or nothing yet, are repeated in the usual way.
    """
    for at, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and layer.get_seq_length():
            cache.layers[at] = BeamLayer(layer.keys, layer.values, beams, room)
        else:
            layer.batch_repeat_interleave(beams)
    return cache


def encoder_decoder(own: Cache) -> EncoderDecoderCache:
    """Join a decoder's own cache with an empty one for the encoder's states, which beams of an item share."""
    return EncoderDecoderCache(own, Cache(layer_class_to_replicate=CommonLayer))


def _buffer(states: torch.Tensor, beams: int, room: int) -> torch.Tensor:
    items, heads, length, width = states.shape
    buffer = states.new_empty(items, beams, heads, length + room, width)
    buffer[..., :length, :] = states.unsqueeze(1)
    return buffer.flatten(0, 1)
