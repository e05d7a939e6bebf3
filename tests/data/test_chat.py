"""Prompts by chat templates of several kinds, and that the end of a turn ends targets and candidates."""

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from raypeft.data.chat import ChatPrompts
from raypeft.data.encoding import Limits, encode, encode_prompt
from raypeft.data.sources import Item
from raypeft.decoding import BeamSettings, decode
from raypeft.errors import UserError

ITEM = Item("1", "sort the values", "values.sort()")
EXAMPLES = [Item("2", "sum xs", "sum(xs)")]
CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BRACKETS = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token }}[INST] {{ m['content'] | trim }} [/INST]"
    "{% else %} {{ m['content'] | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)
OPEN = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
DATED = "{{ date_string }}{% if enable_thinking is not defined or enable_thinking %}think{% endif %}" + OPEN


def chatting(tokenizer: PreTrainedTokenizerBase, template: str) -> PreTrainedTokenizerBase:
    own = copy.deepcopy(tokenizer)
    own.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    own.chat_template = template
    return own


@pytest.fixture(scope="module")
def chatml(plain: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    return chatting(plain, CHATML)


def prompts(tokenizer: PreTrainedTokenizerBase) -> ChatPrompts:
    return ChatPrompts(tokenizer, "decoder", "models.own")


def test_the_intent_is_a_users_turn_and_examples_are_turns_before_it(chatml: PreTrainedTokenizerBase) -> None:
    asked = prompts(chatml)
    system = "<|im_start|>system\nYou help.<|im_end|>\n"
    last = "<|im_start|>user\nGenerate Python code: sort the values<|im_end|>\n<|im_start|>assistant\n"
    assert asked.training(ITEM.intent) == asked.test(ITEM.intent) == system + last
    assert asked.icl(ITEM.intent, EXAMPLES) == (
        f"{system}<|im_start|>user\nGenerate Python code: sum xs<|im_end|>\n"
        f"<|im_start|>assistant\nsum(xs)<|im_end|>\n{last}"
    )
    dated = prompts(chatting(chatml, DATED))
    assert dated.training("x") == "26 Jul 2024user: Generate Python code: x\n"


@pytest.mark.parametrize(("template", "end"), [(CHATML, "<|im_end|>"), (BRACKETS, "<eos>"), (OPEN, "<eos>")])
def test_a_target_ends_with_the_end_of_the_turn(plain: PreTrainedTokenizerBase, template: str, end: str) -> None:
    tokenizer = chatting(plain, template)
    encoded = encode(prompts(tokenizer), ITEM, Limits(200, 200))
    assert tokenizer.decode(encoded.target) == ITEM.code + end
    assert tokenizer.decode(encoded.prompt) == prompts(tokenizer).training(ITEM.intent)


def test_special_tokens_are_the_templates_alone(opening: PreTrainedTokenizerBase) -> None:
    tokenizer = chatting(opening, BRACKETS)
    ids = encode(prompts(tokenizer), ITEM, Limits(200, 200)).prompt
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.decode(ids) == "<bos>[INST] Generate Python code: sort the values [/INST]"


def test_limits_do_not_count_the_template(chatml: PreTrainedTokenizerBase) -> None:
    asked = prompts(chatml)
    bare = len(asked.ids(asked.training("")))
    long = Item("1", "sort the values of the list in reverse order", "x")
    whole = asked.ids(asked.training(long.intent))
    assert asked.own_tokens == bare
    assert encode_prompt(asked, long.intent, Limits(len(whole) - bare, 9)) == (whole, False)
    encoded = encode(asked, long, Limits(5, 9))
    assert encoded.cut == ("prompt",) and bare < len(encoded.prompt) <= bare + 5
    text = chatml.decode(encoded.prompt)
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n") and "Generate Python code: sort" in text


def test_the_end_of_a_turn_ends_a_candidate(chatml: PreTrainedTokenizerBase) -> None:
    torch.manual_seed(3)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(chatml), **shape, initializer_range=0.4)).eval()
    end = prompts(chatml).end
    with torch.no_grad():
        model.lm_head.weight[end] *= 3
    ids = encode(prompts(chatml), ITEM, Limits(200, 200)).prompt
    turn = chatml.convert_tokens_to_ids("<|im_end|>")
    assert end == turn != chatml.eos_token_id

    def best(*ends: int) -> list[str]:
        settings = BeamSettings(max_new_tokens=8, end_ids=ends)
        return [one.text for one in decode(model, chatml, [ids], settings, batch_size=1)[0]]

    assert best(end) != best()
    unended = model.generate(
        torch.tensor([ids]), num_beams=10, num_return_sequences=10, max_new_tokens=8, do_sample=False,
        eos_token_id=[chatml.eos_token_id, turn], pad_token_id=chatml.pad_token_id,
    )  # fmt: skip
    texts = [chatml.decode(row[len(ids) :]).split("<|im_end|>")[0].split("<eos>")[0] for row in unended]
    assert best(end) == [text.replace("<|im_start|>", "").replace("<bos>", "").replace("<pad>", "") for text in texts]


def test_a_tokenizer_without_a_template_is_refused(plain: PreTrainedTokenizerBase) -> None:
    with pytest.raises(UserError) as caught:
        prompts(plain)
    assert str(caught.value) == (
        "models.own: is to be prompted by chat, but its tokenizer has no chat template\n"
        "Prompt it with prompt_style: instruction, or take the instruct variant of the model."
    )
