"""Measures an embedded model with plain transformers and peft: zero-shot, few-shot and tuned EM@k on `snippets`.

python -m embedded.evaluate tiny-decoder zero
python -m embedded.evaluate tiny-decoder icl --shots 3
python -m embedded.evaluate tiny-encoder-decoder lora --rate 1e-3
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
from peft import IA3Config, LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.optimization import Adafactor

from raypeft.embedded import MODELS, SNIPPETS

PROMPT = "### Instruction:\n{nl}\n### Response:\n"
ICL_HEAD = "Generate Python code given a natural language instruction."


def rows(split: str) -> list[dict[str, str]]:
    """The rows of a split."""
    return [json.loads(line) for line in SNIPPETS[split].read_text(encoding="utf-8").splitlines()]


class Subject:
    """A model with its tokenizer and the prompt of its family."""

    def __init__(self, folder: Path):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.encoder_decoder = AutoConfig.from_pretrained(folder).is_encoder_decoder
        auto = AutoModelForSeq2SeqLM if self.encoder_decoder else AutoModelForCausalLM
        self.model = auto.from_pretrained(folder)

    def prompt(self, nl: str, examples: list[dict[str, str]]) -> str:
        """The prompt of an intent, after solved examples."""
        text = PROMPT.format(nl=nl)
        if examples:
            text = (
                ICL_HEAD + "".join("\n" + PROMPT.format(nl=e["nl"]) + e["cmd"] + "\n" for e in examples) + "\n" + text
            )
        return f"Generate Python code: {text}" if self.encoder_decoder else text

    def batch(self, items: list[dict[str, str]]) -> dict[str, torch.Tensor]:
        """Right-padded training tensors, loss on the code and its end-of-sequence token."""
        end, pad = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        prompts = [self.tokenizer(self.prompt(item["nl"], []))["input_ids"] for item in items]
        codes = [[*self.tokenizer(item["cmd"], add_special_tokens=False)["input_ids"], end] for item in items]
        if self.encoder_decoder:
            inputs, labels = prompts, codes
        else:
            inputs = [p + c for p, c in zip(prompts, codes, strict=True)]
            labels = [[-100] * len(p) + c for p, c in zip(prompts, codes, strict=True)]
        width, label_width = max(map(len, inputs)), max(map(len, labels))
        return {
            "input_ids": torch.tensor([i + [pad] * (width - len(i)) for i in inputs]),
            "attention_mask": torch.tensor([[1] * len(i) + [0] * (width - len(i)) for i in inputs]),
            "labels": torch.tensor([c + [-100] * (label_width - len(c)) for c in labels]),
        }

    @torch.no_grad()
    def loss(self, items: list[dict[str, str]]) -> float:
        """Mean loss a token."""
        total, count = 0.0, 0
        for start in range(0, len(items), 32):
            batch = self.batch(items[start : start + 32])
            tokens = int((batch["labels"] != -100).sum())
            total, count = total + self.model(**batch).loss.item() * tokens, count + tokens
        return total / count

    @torch.no_grad()
    def candidates(self, prompts: list[str]) -> list[list[str]]:
        """Ten candidates a prompt by beam search, each cut at its first line end."""
        self.tokenizer.padding_side = "right" if self.encoder_decoder else "left"
        ordered = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        found: dict[int, list[str]] = {}
        for start in range(0, len(ordered), 20):
            part = ordered[start : start + 20]
            batch = self.tokenizer([prompts[index] for index in part], padding=True, return_tensors="pt")
            batch.pop("token_type_ids", None)
            settings = {"num_beams": 10, "num_return_sequences": 10, "max_new_tokens": 48, "do_sample": False}
            sequences = self.model.generate(**batch, **settings, stop_strings=["\n"], tokenizer=self.tokenizer)
            skip = 0 if self.encoder_decoder else batch["input_ids"].shape[1]
            texts = self.tokenizer.batch_decode(sequences[:, skip:], skip_special_tokens=True)
            for row, index in enumerate(part):
                found[index] = [text.split("\n")[0].strip() for text in texts[10 * row : 10 * row + 10]]
        return [found[index] for index in range(len(prompts))]

    def exact_match(
        self, items: list[dict[str, str]], examples: list[dict[str, str]], show: int = 0
    ) -> dict[int, float]:
        """Share of items, in per cent, whose code is among the first k candidates."""
        lists = self.candidates([self.prompt(item["nl"], examples) for item in items])
        for item, texts in list(zip(items, lists, strict=True))[:show]:
            print("  ", item["nl"], "|", item["cmd"], "|", texts[:3])
        pairs = list(zip(items, lists, strict=True))
        return {k: round(100 * sum(i["cmd"] in c[:k] for i, c in pairs) / len(pairs), 1) for k in (1, 2, 5, 10)}


def tune(subject: Subject, technique: str, rate: float, epochs: int, batch_size: int = 8) -> None:
    """Tune with Adafactor and a linear decay, and print the validation loss after each epoch."""
    queries = ["q", "k", "v"] if subject.encoder_decoder else ["q_proj", "k_proj", "v_proj"]
    feed = ["wi", "wo"] if subject.encoder_decoder else ["gate_proj", "up_proj", "down_proj"]
    task = "SEQ_2_SEQ_LM" if subject.encoder_decoder else "CAUSAL_LM"
    torch.manual_seed(42)
    if technique == "lora":
        config = LoraConfig(task_type=task, r=16, lora_alpha=32, lora_dropout=0.05, target_modules=queries)
        subject.model = get_peft_model(subject.model, config)
    elif technique == "ia3":
        config = IA3Config(task_type=task, target_modules=queries + feed, feedforward_modules=feed)
        subject.model = get_peft_model(subject.model, config)
    trained = [parameter for parameter in subject.model.parameters() if parameter.requires_grad]
    items = rows("train")
    steps = epochs * len(items) // batch_size
    optimizer = Adafactor(trained, lr=rate, scale_parameter=False, relative_step=False)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / (0.05 * steps), (steps - s) / steps)
    )
    rng, validation = random.Random(42), rows("validation")
    print(f"before  validation loss {subject.loss(validation):.4f}", flush=True)
    for epoch in range(epochs):
        rng.shuffle(items)
        subject.model.train()
        began = time.time()
        for start in range(0, len(items), batch_size):
            subject.model(**subject.batch(items[start : start + batch_size])).loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        pace = (time.time() - began) / (len(items) / batch_size)
        subject.model.eval()
        print(
            f"epoch {epoch + 1} validation loss {subject.loss(validation):.4f}  {1000 * pace:.0f} ms a step", flush=True
        )


def main() -> None:
    """Measure one model in one way."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model", help="a name of raypeft.embedded.MODELS or a folder")
    parser.add_argument("way", choices=("zero", "icl", "full", "lora", "ia3"))
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--split", default="test")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    subject = Subject(MODELS.get(options.model, Path(options.model)))
    examples = random.Random(options.seed).sample(rows("train"), options.shots) if options.way == "icl" else []
    if options.way not in ("zero", "icl"):
        tune(subject, options.way, options.rate, options.epochs)
    began = time.time()
    matches = subject.exact_match(rows(options.split), examples, options.show)
    print(f"{options.model} {options.way}  EM@k {matches}  {time.time() - began:.1f} s decoding")


if __name__ == "__main__":
    main()
