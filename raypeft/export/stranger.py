"""Run as a process of its own, without raypeft: load an exported folder as its card says, and search.

Reads from standard input the lines that load `model` and `tokenizer`, the arguments of `generate` and prompts as token
ids; writes the candidates of each prompt, as they are, with their scores.
"""

import json
import sys
from typing import Any


def answers(loading: str, search: str, prompts: list[list[int]]) -> list[dict[str, Any]]:
    """Candidates and scores of each prompt."""
    names: dict[str, Any] = {}
    exec(loading, names)
    model, tokenizer, torch = names["model"], names["tokenizer"], names["torch"]
    options = eval(f"dict({search})", names)
    if torch.cuda.is_available() and not any(getattr(part, "is_quantized", False) for part in model.modules()):
        try:
            model.to("cuda")
        except torch.OutOfMemoryError:
            model.to("cpu")
    found = []
    for ids in prompts:
        inputs = torch.tensor([ids], device=model.device)
        output = model.generate(
            input_ids=inputs,
            attention_mask=torch.ones_like(inputs),
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )
        new = output.sequences[:, 0 if model.config.is_encoder_decoder else len(ids) :]
        texts = tokenizer.batch_decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        found.append({"candidates": texts, "scores": output.sequences_scores.tolist()})
    return found


if __name__ == "__main__":
    print(json.dumps(answers(**json.load(sys.stdin))))
