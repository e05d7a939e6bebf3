"""The caches for beams against transformers' own, step by step."""

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from raypeft.decoding.cache import BeamLayer, CommonLayer, encoder_decoder, spread

ITEMS, BEAMS, HEADS = 2, 3, 4


def states(rows: int, length: int, width: int = 5) -> torch.Tensor:
    return torch.randn(rows, HEADS, length, width)


def held(cache: DynamicCache) -> tuple[torch.Tensor, torch.Tensor]:
    return cache.layers[0].keys, cache.layers[0].values


def test_a_beam_layer_holds_what_a_plain_one_holds() -> None:
    torch.manual_seed(3)
    read = states(ITEMS, 7), states(ITEMS, 7, width=6)
    plain, spare = DynamicCache([read]), DynamicCache([read])
    plain.batch_repeat_interleave(BEAMS)
    spread(spare, BEAMS, room=4)
    assert isinstance(spare.layers[0], BeamLayer)
    torch.testing.assert_close(held(spare), held(plain), rtol=0, atol=0)
    for length in (1, 2, 1):
        new = states(ITEMS * BEAMS, length), states(ITEMS * BEAMS, length, width=6)
        torch.testing.assert_close(spare.update(*new, 0), plain.update(*new, 0), rtol=0, atol=0)
        beams = torch.tensor([1, 1, 0, 5, 3, 5])
        plain.reorder_cache(beams)
        spare.reorder_cache(beams)
        torch.testing.assert_close(held(spare), held(plain), rtol=0, atol=0)
        assert spare.get_seq_length() == plain.get_seq_length()
        assert spare.get_mask_sizes(1, 0) == plain.get_mask_sizes(1, 0)


def test_what_was_read_is_never_copied_again() -> None:
    cache = spread(DynamicCache([(states(ITEMS, 7), states(ITEMS, 7))]), BEAMS, room=2)
    place = cache.layers[0].keys.data_ptr()
    for _ in range(2):
        keys, _ = cache.update(states(ITEMS * BEAMS, 1), states(ITEMS * BEAMS, 1), 0)
        cache.reorder_cache(torch.tensor([2, 1, 0, 3, 3, 3]))
        assert keys.data_ptr() == cache.layers[0].keys.data_ptr() == place


def test_no_more_tokens_than_there_is_room_for() -> None:
    cache = spread(DynamicCache([(states(ITEMS, 7), states(ITEMS, 7))]), BEAMS, room=1)
    cache.update(states(ITEMS * BEAMS, 1), states(ITEMS * BEAMS, 1), 0)
    with pytest.raises(RuntimeError):
        cache.update(states(ITEMS * BEAMS, 1), states(ITEMS * BEAMS, 1), 0)


def test_empty_and_sliding_layers_stay_what_they_are() -> None:
    cache = DynamicCache()
    cache.layers = [DynamicLayer(), DynamicSlidingWindowLayer(sliding_window=4)]
    cache.layers[1].update(states(ITEMS, 6), states(ITEMS, 6))
    spread(cache, BEAMS, room=2)
    assert [type(layer) for layer in cache.layers] == [DynamicLayer, DynamicSlidingWindowLayer]
    assert cache.layers[1].keys.shape[0] == ITEMS * BEAMS


def test_what_comes_from_the_encoder_stays_in_place() -> None:
    cache = encoder_decoder(DynamicCache())
    first = states(ITEMS, 7).repeat_interleave(BEAMS, dim=0)
    cache.cross_attention_cache.update(first, first, 0)
    assert isinstance(cache.cross_attention_cache.layers[0], CommonLayer)
    place = cache.cross_attention_cache.layers[0].keys.data_ptr()
    cache.reorder_cache(torch.tensor([1, 1, 0, 5, 3, 5]))
    assert cache.cross_attention_cache.layers[0].keys.data_ptr() == place
    assert torch.equal(cache.cross_attention_cache.layers[0].keys, first)
