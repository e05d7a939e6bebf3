"""Speed of raypeft's beam search against one item at a time, as the paper's replication package decodes.

    python benchmarks/decoding.py MODEL DATA.jsonl --items 64 --threads 2

MODEL is a model folder or hub name, DATA a JSONL file with intents under `nl` and code under `cmd`. The baseline passes
one item after the other to `generate` of transformers and turns every beam to text at every step to look for the stop
string, as the package does; unlike the package's, its candidates end one by one, so that both sides search for the
same thing and the last column can count the items on which all candidates agree. With `--examples N` the prompts open
with the last N items of the file.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, StoppingCriteria

from raypeft.data.prompts import InstructionPrompts
from raypeft.data.sources import Item
from raypeft.decoding import BeamSettings, cut, decode
from raypeft.spec.protocol import Protocol


class TextStop(StoppingCriteria):
    """Ends a beam when its new text contains the stop string, found by decoding it anew at each step."""

    def __init__(self, tokenizer: Any, start: int, stop_string: str) -> None:
        self.tokenizer, self.start, self.stop_string = tokenizer, start, stop_string

    def __call__(self, input_ids: torch.Tensor, scores: object, **kwargs: object) -> torch.Tensor:
        """Whether each row's new text has the stop string."""
        texts = self.tokenizer.batch_decode(input_ids[:, self.start :])
        return torch.tensor([self.stop_string in text for text in texts], device=input_ids.device)


def one_at_a_time(model: Any, tokenizer: Any, prompts: list[list[int]], new_tokens: int) -> list[list[str]]:
    """Ten candidates for each prompt by `generate` on one item at a time."""
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt], device=model.device)
        start = 1 if model.config.is_encoder_decoder else len(prompt)
        rows = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            num_beams=10,
            num_return_sequences=10,
            max_new_tokens=new_tokens,
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            stopping_criteria=[TextStop(tokenizer, start, "\n")],
        )
        texts = tokenizer.batch_decode(rows[:, start:], skip_special_tokens=True)
        found.append([cut(text, ("\n",)) for text in texts])
    return found


def batched(model: Any, tokenizer: Any, prompts: list[list[int]], new_tokens: int, batch_size: int) -> list[list[str]]:
    """The same by `decode`."""
    settings = BeamSettings(max_new_tokens=new_tokens, stop_strings=("\n",))
    found = decode(model, tokenizer, prompts, settings, batch_size=batch_size)
    return [[candidate.text for candidate in item] for item in found]


def timed(work: Callable[..., list[list[str]]], *arguments: Any) -> tuple[float, list[list[str]]]:
    """Seconds and results of one call."""
    begin = time.perf_counter()
    found = work(*arguments)
    return time.perf_counter() - begin, found


def main() -> None:
    """Run both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model folder or hub name")
    parser.add_argument("data", type=Path, help="JSONL file with the fields nl and cmd")
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--examples", type=int, default=0, help="in-context examples before each prompt")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 16, 32])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    rows = [json.loads(line) for line in options.data.read_text().splitlines()]
    items = [Item(str(at), row["nl"], row["cmd"]) for at, row in enumerate(rows)]
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    config = AutoConfig.from_pretrained(options.model)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model = kind.from_pretrained(options.model, dtype=torch.float32).eval()
    if torch.cuda.is_available():
        model = model.cuda()
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    architecture = "encoder_decoder" if config.is_encoder_decoder else "decoder"
    examples = items[len(items) - options.examples :]
    template = InstructionPrompts(tokenizer, architecture, Protocol())
    texts = [
        template.icl(item.intent, examples) if examples else template.test(item.intent)
        for item in items[: options.items]
    ]
    prompts = [template.ids(text) for text in texts]

    batched(model, tokenizer, prompts[:1], 2, 1)  # one-time set-up of both sides stays out of the figures
    one_at_a_time(model, tokenizer, prompts[:1], 2)
    base_seconds, expected = timed(one_at_a_time, model, tokenizer, prompts, options.new_tokens)
    print(f"{'':24}{'seconds':>9}{'items/s':>9}{'speed-up':>10}  same candidates")
    print(f"{'one item at a time':24}{base_seconds:9.2f}{len(prompts) / base_seconds:9.2f}{1.0:10.2f}")
    for size in options.batch_sizes:
        seconds, found = timed(batched, model, tokenizer, prompts, options.new_tokens, size)
        same = sum(one == other for one, other in zip(found, expected, strict=True))
        label = f"decode(), batches of {size}"
        speed_up = base_seconds / seconds
        print(f"{label:24}{seconds:9.2f}{len(prompts) / seconds:9.2f}{speed_up:10.2f}  {same} of {len(prompts)}")


if __name__ == "__main__":
    main()
