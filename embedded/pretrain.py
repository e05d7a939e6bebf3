"""Pretrains the two tiny models from nothing on the text of `embedded.corpus` and writes them into the package.

    python -m embedded.pretrain tiny-decoder
    python -m embedded.pretrain tiny-encoder-decoder

The same seed, machine, libraries and number of threads (one, set below) give the same weights.
"""

import argparse
import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from embedded import tokenization
from embedded.corpus import corpus, exercises, lessons

FOLDER = Path(__file__).parents[1] / "raypeft" / "embedded" / "models"
SEED = 7
VOCABULARY = 1536
TOKENIZER_DOCUMENTS = 20_000
THREADS = 1
LESSON_STEPS = 600
Batch = dict[str, torch.Tensor]


def decoder(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama of four layers."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def encoder_decoder(tokenizer: PreTrainedTokenizerFast) -> T5ForConditionalGeneration:
    """A T5 of three and three layers."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=128,
        d_kv=32,
        d_ff=512,
        num_layers=3,
        num_decoder_layers=3,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="relu",
        tie_word_embeddings=True,
        decoder_start_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return T5ForConditionalGeneration(config)


def packed(tokenizer: PreTrainedTokenizerFast, steps: int, batch: int = 10, length: int = 256) -> Iterator[Batch]:
    """Blocks of documents one after another, bare lessons first, each closed by the end-of-sequence token."""
    basics = (f"# {intent}\n{code}\n" for intent, code in lessons(SEED + 2))
    documents = corpus(SEED)
    stream: list[int] = []
    for step in range(steps):
        while len(stream) < batch * length:
            text = next(basics if step < LESSON_STEPS else documents)
            stream += tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]
        block = torch.tensor(stream[: batch * length]).view(batch, length)
        stream = stream[batch * length :]
        yield {"input_ids": block, "labels": block}


def paired(tokenizer: PreTrainedTokenizerFast, steps: int, batch: int = 32) -> Iterator[Batch]:
    """Bare lessons, then text to code in many forms and documents with masked spans, in batches of similar length."""
    rng = random.Random(SEED)
    basics, tasks, documents = lessons(SEED + 2), exercises(SEED + 1), corpus(SEED)
    waiting: list[list[tuple[str, str]]] = []
    for step in range(steps):
        if not waiting:
            if step < LESSON_STEPS:
                pool = [next(basics) for _ in range(16 * batch)]
            else:
                pool = [
                    next(tasks) if rng.random() < 0.8 else corrupted(rng, next(documents)) for _ in range(16 * batch)
                ]
            pool.sort(key=lambda pair: len(pair[0]))
            waiting = [pool[start : start + batch] for start in range(0, len(pool), batch)]
            rng.shuffle(waiting)
        pairs = waiting.pop()
        # few different shapes: a new one costs the CPU library a compilation
        form = {
            "truncation": True,
            "max_length": 256,
            "padding": True,
            "pad_to_multiple_of": 16,
            "return_tensors": "pt",
        }
        sources = tokenizer([source for source, _ in pairs], **form)
        targets = tokenizer([target for _, target in pairs], **form)
        labels = targets["input_ids"].masked_fill(targets["attention_mask"] == 0, -100)
        yield {"input_ids": sources["input_ids"], "attention_mask": sources["attention_mask"], "labels": labels}


def corrupted(rng: random.Random, document: str) -> tuple[str, str]:
    """Replace about a sixth of the words, in spans of one to five, by sentinels, and list them (T5, section 3.1.4)."""
    words = document[:400].split(" ")
    source, target, position = [], [], 0
    for sentinel in tokenization.SENTINELS:
        gap, span = 1 + int(rng.random() * 24), 1 + int(rng.random() * 5)
        if position + gap >= len(words):
            break
        source += [*words[position : position + gap], sentinel]
        target += [sentinel, *words[position + gap : position + gap + span]]
        position += gap + span
    return " ".join(source + words[position:]), " ".join(target)


def train(model: PreTrainedModel, batches: Iterator[Batch], steps: int, rate: float, table_rate: float) -> None:
    """Muon for the layers' matrices, AdamW for the rest; a short warm-up, and a linear decay over the last half."""
    named = list(model.named_parameters())
    matrices = [parameter for name, parameter in named if parameter.dim() == 2 and not is_table(name)]
    rest = [parameter for name, parameter in named if parameter.dim() != 2 or is_table(name)]
    optimizers = [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=table_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]

    def share(step: int) -> float:
        return min((step + 1) / 50, 1.0, (steps - step) / (0.5 * steps))

    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, share) for optimizer in optimizers]
    began, mean = time.time(), 0.0
    for step, batch in enumerate(batches, 1):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        mean += (loss.item() - mean) / min(step, 50)
        if step % 100 == 0:
            print(f"step {step}/{steps}  loss {mean:.3f}  {time.time() - began:.0f} s", flush=True)


def is_table(name: str) -> bool:
    """Whether a parameter is looked up by token or by distance: Muon is for matrices that multiply."""
    return any(part in name for part in ("embed", "shared", "relative_attention_bias"))


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the weights in bfloat16, half the size, with a configuration that loads them as float32."""
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for path in folder.iterdir():
        path.chmod(0o644)


def main() -> None:
    """Pretrain one model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model", choices=("tiny-decoder", "tiny-encoder-decoder"))
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    is_pair = options.model == "tiny-encoder-decoder"
    tokenizer = tokenization.train(itertools.islice(corpus(SEED), TOKENIZER_DOCUMENTS), VOCABULARY, is_pair)
    model = encoder_decoder(tokenizer) if is_pair else decoder(tokenizer)
    batches = paired(tokenizer, options.steps) if is_pair else packed(tokenizer, options.steps)
    print(f"{options.model}: {model.num_parameters():,} parameters", flush=True)
    # T5 draws its embeddings with a deviation of 1, Llama with 0.02
    train(model, batches, options.steps, options.rate, table_rate=1e-2 if is_pair else 3e-3)
    save(model, tokenizer, options.out / options.model)


if __name__ == "__main__":
    main()
