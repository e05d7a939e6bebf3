"""Items as token ids, checked by decoding them and by counting."""

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from raypeft.data import encoding
from raypeft.data.encoding import Collator, Encoded, Limits, encode_prompt, full_lengths
from raypeft.data.prompts import InstructionPrompts
from raypeft.data.sources import Item
from raypeft.spec.catalogue import Architecture
from raypeft.spec.protocol import Protocol

WIDE = Limits(prompt=200, target=200)
ITEM = Item("1", "sort the values", "values.sort()")
DECODER_PROMPT = "### Instruction:\nsort the values\n### Response:\n"
ENCODER_PROMPT = "Generate Python code: " + DECODER_PROMPT

Tokenizer = PreTrainedTokenizerBase


def prompts(tokenizer: Tokenizer, architecture: Architecture = "decoder") -> InstructionPrompts:
    return InstructionPrompts(tokenizer, architecture, Protocol())


def encode(tokenizer: Tokenizer, item: Item, architecture: Architecture, limits: Limits) -> Encoded:
    return encoding.encode(prompts(tokenizer, architecture), item, limits)


def fitted_prompt(tokenizer: Tokenizer, intent: str, architecture: Architecture, most: int) -> tuple[list[int], bool]:
    return encode_prompt(prompts(tokenizer, architecture), intent, Limits(most, 200))


def test_a_decoders_prompt_and_target_are_one_text(plain: Tokenizer) -> None:
    encoded = encode(plain, ITEM, "decoder", WIDE)
    assert plain.decode(encoded.prompt) == DECODER_PROMPT
    assert plain.decode(encoded.target) == "values.sort()<eos>"
    assert encoded.prompt + encoded.target == [*plain.encode(DECODER_PROMPT + ITEM.code), plain.eos_token_id]
    assert encoded.cut == ()


def test_a_tokenizer_that_opens_with_bos_does_so_once(opening: Tokenizer) -> None:
    encoded = encode(opening, ITEM, "decoder", WIDE)
    assert opening.decode(encoded.prompt) == "<bos>" + DECODER_PROMPT
    assert opening.decode(encoded.target) == "values.sort()<eos>"


def test_a_tokenizer_that_closes_with_eos_leaves_a_decoders_prompt_open(closing: Tokenizer) -> None:
    assert closing.decode(closing(DECODER_PROMPT)["input_ids"]) == DECODER_PROMPT + "<eos>"
    encoded = encode(closing, ITEM, "decoder", WIDE)
    assert closing.decode(encoded.prompt) == DECODER_PROMPT
    assert closing.decode(encoded.target) == "values.sort()<eos>"


def test_an_encoders_prompt_is_closed_as_its_tokenizer_does_and_the_target_ends_once(closing: Tokenizer) -> None:
    encoded = encode(closing, ITEM, "encoder_decoder", WIDE)
    assert closing.decode(encoded.prompt) == ENCODER_PROMPT + "<eos>"
    assert closing.decode(encoded.target) == "values.sort()<eos>"


def test_the_code_does_not_start_like_a_text_of_its_own(spaced: Tokenizer) -> None:
    item = Item("1", "sort", "x")
    assert spaced.convert_ids_to_tokens(spaced.encode("x")) == ["▁x"]
    target = encode(spaced, item, "decoder", WIDE).target
    assert spaced.convert_ids_to_tokens(target) == ["x", "<eos>"]


def test_code_that_would_merge_with_the_prompts_end_is_tokenized_by_itself(plain: Tokenizer) -> None:
    item = Item("1", "sort", "\n\nvalues")
    prompt = "### Instruction:\nsort\n### Response:\n"
    encoded = encode(plain, item, "decoder", WIDE)
    assert plain.encode(prompt + item.code)[: len(encoded.prompt)] != encoded.prompt
    assert plain.decode(encoded.prompt) == prompt
    assert plain.decode(encoded.target) == "\n\nvalues<eos>"


def test_a_target_over_the_limit_loses_its_end_and_eos(plain: Tokenizer) -> None:
    whole = encode(plain, ITEM, "decoder", WIDE).target
    exact = encode(plain, ITEM, "decoder", Limits(prompt=200, target=len(whole)))
    assert (exact.target, exact.cut) == (whole, ())
    short = encode(plain, ITEM, "decoder", Limits(prompt=200, target=len(whole) - 1))
    assert (short.target, short.cut) == (whole[:-1], ("target",))
    assert short.target[-1] != plain.eos_token_id


@pytest.mark.parametrize("architecture", ["decoder", "encoder_decoder"])
@pytest.mark.parametrize("kind", ["plain", "opening", "closing"])
def test_a_long_intent_loses_its_end_and_the_template_stays(
    request: pytest.FixtureRequest, kind: str, architecture: Architecture
) -> None:
    tokenizer = request.getfixturevalue(kind)
    intent = "sort the values of the list in reverse order and sum the squares " * 3
    most = 60
    ids, shortened = fitted_prompt(tokenizer, intent, architecture, most)
    text = tokenizer.decode(ids, skip_special_tokens=True)
    opening, body = ("" if architecture == "decoder" else "Generate Python code: ") + "### Instruction:\n", "sort the"
    assert shortened and most - 3 <= len(ids) <= most
    assert text.startswith(opening + body) and text.endswith("\n### Response:\n")
    kept = text.removeprefix(opening).removesuffix("\n### Response:\n")
    assert intent.startswith(kept) and 0 < len(kept) < len(intent)
    item = encode(tokenizer, Item("1", intent, "x"), architecture, Limits(most, 9))
    assert (item.prompt, item.cut) == (ids, ("prompt",))
    assert tokenizer.decode(item.target) == "x<eos>"


def test_a_prompt_within_the_limit_is_whole(plain: Tokenizer) -> None:
    ids = prompts(plain).ids(DECODER_PROMPT)
    assert fitted_prompt(plain, "sort the values", "decoder", len(ids)) == (ids, False)
    assert fitted_prompt(plain, "sort the values", "decoder", len(ids) - 1)[1]


def test_an_intent_is_not_cut_inside_a_character(plain: Tokenizer) -> None:
    intent = "日本語" * 20
    for most in range(60, 66):
        ids, shortened = fitted_prompt(plain, intent, "decoder", most)
        text = plain.decode(ids)
        assert shortened and len(ids) <= most
        assert intent.startswith(text.removeprefix("### Instruction:\n").removesuffix("\n### Response:\n"))


LONG = Item("1", "sort the values of the list in reverse order and sum the squares of all", "values.sort(reverse=True)")


def test_the_packages_way_cuts_a_decoders_prompt_at_its_end_and_keeps_eos(plain: Tokenizer) -> None:
    whole = encode(plain, LONG, "decoder", WIDE)
    long, code = len(whole.prompt), len(whole.target)
    within = encode(plain, LONG, "decoder", Limits(long - 2, code + 2, "package"))
    assert within == whole  # what the target leaves of both limits is the prompt's
    cut = encode(plain, LONG, "decoder", Limits(long - 5, code + 2, "package"))
    assert (cut.prompt, cut.target, cut.cut) == (whole.prompt[:-3], whole.target, ("prompt",))
    short = encode(plain, LONG, "decoder", Limits(long, code - 3, "package"))
    assert (short.prompt, short.target) == (whole.prompt, [*whole.target[: code - 4], plain.eos_token_id])
    assert short.cut == ("target",)
    tested = encode_prompt(prompts(plain), LONG.intent, Limits(long - 5, code, "package"))
    assert tested == (whole.prompt, False)


def test_the_packages_way_cuts_an_encoders_prompt_before_its_closing_token(closing: Tokenizer) -> None:
    whole = encode(closing, LONG, "encoder_decoder", WIDE)
    cut = encode(closing, LONG, "encoder_decoder", Limits(len(whole.prompt) - 3, 200, "package"))
    assert cut.prompt == [*whole.prompt[:-4], closing.eos_token_id] == whole.prompt[:-4] + whole.prompt[-1:]
    assert (cut.target, cut.cut) == (whole.target, ("prompt",))


def test_loss_is_on_the_target_alone() -> None:
    item = Encoded(prompt=[5, 6, 7], target=[8, 9])
    assert Collator(0, "decoder").features(item) == {"input_ids": [5, 6, 7, 8, 9], "labels": [-100, -100, -100, 8, 9]}
    assert Collator(0, "encoder_decoder").features(item) == {"input_ids": [5, 6, 7], "labels": [8, 9]}


def test_a_decoders_batch_is_padded_on_the_right() -> None:
    collator = Collator(1, "decoder")
    batch = collator([collator.features(Encoded([5, 1], [8, 1])), collator.features(Encoded([6], [9]))])
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {
        "input_ids": [[5, 1, 8, 1], [6, 9, 1, 1]],
        "attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0]],
        "labels": [[-100, -100, 8, 1], [-100, 9, -100, -100]],
    }
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_an_encoder_decoders_sides_are_padded_by_themselves() -> None:
    collator = Collator(0, "encoder_decoder")
    batch = collator([collator.features(Encoded([5], [8, 9, 1])), collator.features(Encoded([6, 7], [1]))])
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {
        "input_ids": [[5, 0], [6, 7]],
        "attention_mask": [[1, 0], [1, 1]],
        "labels": [[8, 9, 1], [1, -100, -100]],
    }


def test_full_padding_reaches_the_limits(plain: Tokenizer) -> None:
    limits = Limits(prompt=4, target=3)
    assert full_lengths(prompts(plain), limits) == (7, 7)
    assert full_lengths(prompts(plain, "encoder_decoder"), limits) == (4, 3)
    collator = Collator(1, "decoder", least=(7, 7))
    batch = collator([collator.features(Encoded([5], [8, 2])), collator.features(Encoded([6, 7], [2]))])
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {
        "input_ids": [[5, 8, 2, 1, 1, 1, 1], [6, 7, 2, 1, 1, 1, 1]],
        "attention_mask": [[1, 1, 1, 0, 0, 0, 0]] * 2,
        "labels": [[-100, 8, 2, -100, -100, -100, -100], [-100, -100, 2, -100, -100, -100, -100]],
    }
    collator = Collator(0, "encoder_decoder", least=(4, 3))
    batch = collator([collator.features(Encoded([5], [8, 1]))])
    assert batch["input_ids"].tolist() == [[5, 0, 0, 0]]
    assert batch["labels"].tolist() == [[8, 1, -100]]
