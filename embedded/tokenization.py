"""Byte-level BPE tokenizers: any text round-trips, digits stand alone, padding and end of sequence are own tokens."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

END, PAD = "</s>", "<pad>"
SENTINELS = tuple(f"<extra_id_{number}>" for number in range(32))


def train(texts: Iterable[str], vocabulary: int, encoder_decoder: bool) -> PreTrainedTokenizerFast:
    """Learn a tokenizer of `vocabulary` tokens.

    The encoder-decoder's has T5's sentinels and ends every encoded text with `</s>`, as T5's does; the decoder's adds
    nothing.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # identifiers break at underscores, so that `raw_items` is `raw`, `_items`
            pre_tokenizers.Split(Regex(r"_?[a-z]+| ?[A-Za-z]+|\d| ?[^\sA-Za-z\d]+|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, END, *(SENTINELS if encoder_decoder else ())]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=20,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if encoder_decoder:
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=list(SENTINELS) if encoder_decoder else [],
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )
