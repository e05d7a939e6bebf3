"""Small tokenizers of the kinds that base models have."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

SPECIAL = ["<pad>", "<bos>", "<eos>"]
TEXT = [
    "### Instruction:\nsort the list values in reverse order\n### Response:\nvalues.sort(reverse=True)\n",
    "Generate Python code: ### Instruction:\nsum of the squares\n### Response:\nsum(x * x for x in xs)\n",
    "x\n\n\nvalues\n\n\nxs",
]


def _core() -> Tokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=SPECIAL, initial_alphabet=alphabet)
    core.train_from_iterator(TEXT, trainer)
    return core


def _wrapped(core: Tokenizer) -> PreTrainedTokenizerBase:
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")


def _template(single: str) -> PreTrainedTokenizerBase:
    core = _core()
    marks = [(mark, core.token_to_id(mark)) for mark in ("<bos>", "<eos>")]
    core.post_processor = processors.TemplateProcessing(single=single, special_tokens=marks)
    return _wrapped(core)


@pytest.fixture(scope="session")
def plain() -> PreTrainedTokenizerBase:
    """Byte-level BPE that adds nothing, like CodeGen's."""
    return _wrapped(_core())


@pytest.fixture(scope="session")
def opening() -> PreTrainedTokenizerBase:
    """Byte-level BPE that opens with BOS, like Code Llama's."""
    return _template("<bos> $A")


@pytest.fixture(scope="session")
def closing() -> PreTrainedTokenizerBase:
    """Byte-level BPE that closes with EOS, like T5's."""
    return _template("$A <eos>")


@pytest.fixture(scope="session")
def spaced() -> PreTrainedTokenizerBase:
    """Marks the start of a text with a space, like SentencePiece."""
    core = _core()
    core.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    core.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="first")
    alphabet = sorted({*"".join(TEXT), "▁", "=", "1"} - {" "})
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=SPECIAL, initial_alphabet=alphabet)
    core.train_from_iterator(TEXT, trainer)
    return _wrapped(core)
