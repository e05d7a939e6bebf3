"""Where a candidate's text ends: plain string work, without a model."""

from collections.abc import Sequence

LITERAL_ENDS = ("<|endoftext|>", "</s>")
"""End-of-sequence markers that a model may spell out as ordinary text; they cut a candidate like the real token."""


def cut(text: str, stop_strings: Sequence[str] = ()) -> str:
    """Return ``text`` up to the first occurrence of any stop string or literal end-of-sequence marker."""
    return text[: min((at for end in (*stop_strings, *LITERAL_ENDS) if (at := text.find(end)) >= 0), default=len(text))]


def advance(stop_string: str, matched: int, text: str) -> int:
    """Follow a stop string through one more piece of text.

    Args:
        stop_string: the text looked for.
        matched: how many of its first characters end the text read so far, less than its length.
        text: the next piece.

    Returns:
        How many of its first characters end the text now; its length if the piece completed it anywhere.
    """
    seen = stop_string[:matched] + text
    if stop_string in seen:
        return len(stop_string)
    return next(size for size in range(len(stop_string) - 1, -1, -1) if seen.endswith(stop_string[:size]))
