"""Beam search within the memory there is."""

from collections.abc import Callable, Sequence
from typing import Any

from raypeft.decoding.candidate import BeamSettings, Candidate
from raypeft.decoding.search import decode
from raypeft.modeling.memory import give_back, is_out_of_memory


def decode_fitting(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    settings: BeamSettings,
    *,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[list[Candidate]], int]:
    """`decode` with half as many prompts at once, from the first prompt on, for as long as memory runs out.

    The longest prompts come first, so that little is lost, and all prompts are searched in batches of one size.
    `progress` is called with the number of prompts done since, below zero where they have to be done again.

    Returns:
        The candidates, and the batch size that they were found with.

    Raises:
        Exception: what `decode` raises; a lack of memory only when one prompt is too much.
    """
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(count)

    while True:
        try:
            found = decode(model, tokenizer, prompts, settings, batch_size=batch_size, progress=advance)
            return found, batch_size
        except Exception as error:
            if batch_size == 1 or not is_out_of_memory(error):
                raise
        # The error is gone by now, and with it the frames that hold tensors.
        give_back()
        advance(-done)
        batch_size //= 2
