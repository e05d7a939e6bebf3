"""Data and models inside the package, for studies with no GPU and no network.

`SNIPPETS` is a data set of Python snippets with natural-language intents, `MODELS` are tiny pretrained models in the
`from_pretrained` layout, each with its tokenizer. Both are built by the `embedded` folder of the repository.
"""

from pathlib import Path

_FOLDER = Path(__file__).parent

SNIPPETS: dict[str, Path] = {
    split: _FOLDER / "snippets" / f"{split}.jsonl" for split in ("train", "validation", "test")
}
"""JSONL files with rows {"id", "nl", "cmd"}, by split."""

MODELS: dict[str, Path] = {name: _FOLDER / "models" / name for name in ("tiny-decoder", "tiny-encoder-decoder")}
"""Model folders by name: a Llama decoder and a T5 encoder-decoder, about a million parameters each."""
