"""Where candidates end: the text cut, the criterion over token ids, and both inside the search."""

import random

import pytest
import torch
from transformers import PreTrainedTokenizerBase, StoppingCriteria

from raypeft.decoding import BeamSettings, Candidate, cut, decode
from raypeft.decoding.criteria import StopStringEnd
from raypeft.decoding.stop import advance

from .reference import NEW_TOKENS, Build, Prompts, assert_same, search_alone


@pytest.mark.parametrize(
    ("text", "stop_strings", "expected"),
    [
        ("a = 1\nb = 2", ("\n",), "a = 1"),
        ("a = 1\nb = 2", (), "a = 1\nb = 2"),
        ("a = 1\nb = 2", ("zzz", "b"), "a = 1\n"),
        ("later earlier", ("earlier", "later"), ""),
        ("print(x)<|endoftext|>junk", (), "print(x)"),
        ("print(x)</s>junk<|endoftext|>", ("\n",), "print(x)"),
        ("a\n</s>", ("\n",), "a"),
        ("\n", ("\n",), ""),
        ("", ("\n",), ""),
        ("  kept  ", ("\n",), "  kept  "),
        ("< /s> <|endoftext>", ("\n",), "< /s> <|endoftext>"),
    ],
)
def test_cut(text: str, stop_strings: tuple[str, ...], expected: str) -> None:
    assert cut(text, stop_strings) == expected


@pytest.mark.parametrize(
    ("matched", "text", "expected"),
    [(0, "x", 0), (0, "xa", 1), (1, "b", 2), (2, "aa", 1), (2, "acb", 4), (2, "", 2), (3, "c rest", 4), (3, "a", 1)],
)
def test_advance_through_abac(matched: int, text: str, expected: int) -> None:
    assert advance("abac", matched, text) == expected


def test_advance_keeps_the_longest_overlap() -> None:
    assert advance("aab", 2, "a") == 2
    assert advance("\n\n", 1, "x\n") == 1


@pytest.mark.parametrize("stop_string", ["\n", "\n\n", "\n#", "abab", "def add", " in "])
def test_criterion_equals_decoding_the_text(tokenizer: PreTrainedTokenizerBase, stop_string: str) -> None:
    source = random.Random(1)
    own = [token for piece in (*stop_string, stop_string[:2], stop_string[1:]) for token in tokenizer.encode(piece)]
    others = [*tokenizer.encode(f"a b\n  return x{stop_string}x"), tokenizer.pad_token_id]
    criterion = StopStringEnd(tokenizer, stop_string, start=2)
    tail = tokenizer.encode(stop_string)[-2:]
    prompt = [tail[0], tail[-1]]
    ended = 0
    for _ in range(400):
        new: list[int] = []
        while len(new) < 12 and stop_string not in tokenizer.decode(new):
            new.append(source.choice(own * 9 + others))
            expected = stop_string in tokenizer.decode(new)
            assert criterion(torch.tensor([prompt + new]), None).tolist() == [expected], tokenizer.decode(new)
        ended += expected
    assert ended > 10


class SlowStop(StoppingCriteria):
    """Turns each beam's new tokens to text at each step."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, start: int, stop_strings: tuple[str, ...]) -> None:
        self.tokenizer, self.start, self.stop_strings = tokenizer, start, stop_strings

    def __call__(self, input_ids: torch.Tensor, scores: object, **kwargs: object) -> torch.Tensor:
        texts = [self.tokenizer.decode(row[self.start :]) for row in input_ids]
        return torch.tensor([any(stop in text for stop in self.stop_strings) for text in texts])


@pytest.mark.parametrize("architecture", ["llama", "codegen", "t5"])
@pytest.mark.parametrize("kind", ["newline", "two tokens", "several", "across the prompt's end"])
def test_equals_a_search_that_reads_the_text_of_each_beam(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, architecture: str, kind: str
) -> None:
    model = build(architecture)
    free = decode(model, tokenizer, prompts, BeamSettings(max_new_tokens=NEW_TOKENS), batch_size=4)
    texts = [one.text for item in free for one in item]
    pair = next(text[at : at + 2] for text in texts for at in range(len(text) - 1) if text[at : at + 2].isprintable()
                and text[at : at + 2].isascii() and len(tokenizer.encode(text[at : at + 2])) == 2)  # fmt: skip
    first = next(text[0] for text in texts if text and text[0].isascii())
    stops = {"newline": ("\n",), "two tokens": (pair,), "several": ("\n", pair, "zz")}.get(kind, (f"\n{first}",))

    settings = BeamSettings(max_new_tokens=NEW_TOKENS, stop_strings=stops)
    found = decode(model, tokenizer, prompts, settings, batch_size=4)
    expected = []
    for prompt in prompts:
        slow = SlowStop(tokenizer, 1 if architecture == "t5" else len(prompt), stops)
        candidates = search_alone(model, tokenizer, prompt, stopping_criteria=[slow])
        earliest = [
            min([one.text.find(stop) for stop in stops if stop in one.text], default=None) for one in candidates
        ]
        expected.append([Candidate(one.text[:at], one.score) for one, at in zip(candidates, earliest, strict=True)])
    assert_same(found, expected)
    if kind == "across the prompt's end":
        assert any(one.text.startswith(first) for item in found for one in item)
    else:
        assert found != free


def test_literal_end_markers_cut_also_where_they_are_one_token(
    build: Build, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, outputs = build("codegen"), []
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda **inputs: outputs.append(generate(**inputs)) or outputs[-1])
    settings = BeamSettings(max_new_tokens=NEW_TOKENS)
    (free,) = decode(model, tokenizer, prompts[:1], settings, batch_size=1)
    rows = outputs[0].sequences[:, 1:].tolist()
    marker = rows[-1][2]
    vocabulary = tokenizer.get_vocab()
    monkeypatch.setattr(tokenizer, "get_vocab", lambda: {**vocabulary, "</s>": marker})
    (marked,) = decode(model, tokenizer, prompts[:1], settings, batch_size=1)
    assert [one.score for one in marked] == [one.score for one in free]
    for row, before, after in zip(rows, free, marked, strict=True):
        expected = tokenizer.decode(row[: row.index(marker)]) if marker in row else before.text
        assert after.text == expected
    assert marked[-1] != free[-1]
