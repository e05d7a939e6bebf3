"""Stopping criteria that look at token ids alone."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from transformers import PreTrainedTokenizerBase, StoppingCriteria

from raypeft.decoding.stop import advance


class StopStringEnd(StoppingCriteria):
    """Ends each candidate by itself once its new tokens complete the stop string.

    A table precomputed over the vocabulary says, for each number of characters matched so far and each token, how many
    are matched after it, so that a step costs one lookup for each character of the stop string. Unlike transformers'
    own criterion for stop strings it never reads the prompt. Stop strings outside ASCII are found only where the
    tokenizer does not split them inside a character.

    Args:
        tokenizer: tokenizer of the model.
        stop_string: the text that ends a candidate.
        start: position of the first new token in the ids that ``generate`` passes.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop_string: str, start: int) -> None:
        self.table = _transitions(tokenizer, len(tokenizer), stop_string)
        self.start = start

    def __call__(self, input_ids: torch.LongTensor, scores: object, **kwargs: object) -> torch.Tensor:
        """Return for each row whether its last token completed the stop string."""
        # A match that ends in the last token spans at most as many tokens as the stop string has characters.
        complete = self.table.shape[0] - 1
        return self.contained(input_ids, max(self.start, input_ids.shape[1] - complete))

    def contained(self, input_ids: torch.LongTensor, first: int) -> torch.Tensor:
        """Return for each row whether its tokens from `first` on contain the stop string."""
        table = self.table = self.table.to(input_ids.device)
        matched = torch.zeros(len(input_ids), dtype=torch.long, device=input_ids.device)
        for tokens in input_ids[:, first:].clamp(max=table.shape[1] - 1).unbind(dim=1):
            matched = table[matched, tokens]
        return matched == table.shape[0] - 1


class AllBeamsEnd(StoppingCriteria):
    """Ends all candidates of a prompt together once each of its running beams contains a stop string.

    So stopped the paper's replication package, one prompt at a time, under transformers 4.34, which asked a criterion
    about the running beams, and on its word closed the search with all of them as candidates. `generate` now asks about
    the best continuations, best first: those that end with the end-of-sequence token have left the search, and of the
    others the first are the running beams.

    Args:
        tokenizer: tokenizer of the model.
        stop_strings: the texts looked for.
        start: position of the first new token in the ids that ``generate`` passes.
        beams: running beams of a prompt.
        ends: end-of-sequence ids.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        stop_strings: Sequence[str],
        start: int,
        beams: int,
        ends: Sequence[int],
    ) -> None:
        self.stops = [StopStringEnd(tokenizer, stop, start) for stop in stop_strings]
        self.start = start
        self.beams = beams
        self.ends = torch.tensor(ends)

    def __call__(self, input_ids: torch.LongTensor, scores: object, **kwargs: object) -> torch.Tensor:
        """Return for each row whether the running beams of its prompt all contain a stop string."""
        found = torch.stack([stop.contained(input_ids, self.start) for stop in self.stops]).any(dim=0)
        self.ends = self.ends.to(input_ids.device)
        rows = max(2, 1 + len(self.ends)) * self.beams
        running = ~torch.isin(input_ids[:, -1], self.ends).view(-1, rows)
        running &= running.cumsum(dim=1) <= self.beams
        return (found.view(-1, rows) | ~running).all(dim=1).repeat_interleave(rows)


class ForgetScores(StoppingCriteria):
    """Ends nothing, but frees what ``generate`` keeps in order to return beam scores.

    Asked for beam scores, ``generate`` also keeps the log-probabilities of the whole vocabulary for every beam and
    step (2 GB for 16 prompts, 10 beams, 64 tokens and 51,200 words), which nobody reads.
    """

    def __call__(self, input_ids: torch.LongTensor, scores: tuple[torch.Tensor, ...], **kwargs: object) -> torch.Tensor:
        """Free the newest scores and return false for each row."""
        scores[-1].data = scores[-1].new_empty(0)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@lru_cache(maxsize=8)
def _transitions(tokenizer: PreTrainedTokenizerBase, size: int, stop_string: str) -> torch.Tensor:
    """Table [characters matched before, token id] -> characters matched after; a last column for ids without text."""
    # A token's text can depend on being the first one (a leading space is dropped), so each follows an anchor.
    anchor = tokenizer.encode("a", add_special_tokens=False)
    options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    skip = len(tokenizer.decode(anchor, **options))
    texts = [text[skip:] for text in tokenizer.batch_decode([[*anchor, i] for i in range(size)], **options)] + [""]
    complete = len(stop_string)
    rows = [[advance(stop_string, matched, text) for text in texts] for matched in range(complete)]
    return torch.tensor([*rows, [complete] * len(texts)])
