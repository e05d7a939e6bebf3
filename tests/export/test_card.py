"""What a model card makes of texts that somebody else has written."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from raypeft.export.card import Export, card
from raypeft.export.snippet import Snippet
from raypeft.output.files import write_json, write_text
from raypeft.output.text import one_line, printable
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell
from raypeft.spec.resolve import resolve

PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1)) ![x](http://e.org/x.png)",
    "| a | b |\n|---|---|",
    "\n---\nlicense: mit\nbase_model: evil\n---\n",
    "# Title\n```python\nimport os\n```\n",
    "``` `` ` ``` end",
    "\x1b[31mred\x1b[0m \u202etxt.exe \ud83d",
    "{{ 7 * 7 }} {% raw %}",
    "$x$ *a* _b_ ~~c~~ &lt;",
)
CELL = Cell("tiny-decoder", "snippets", "lora")
SNIPPET = Snippet(
    folder="out",
    base_model="org/base",
    revision=None,
    remote_code=False,
    architecture="decoder",
    precision="fp32",
    quantization=None,
    cores=None,
    prompt="Say:\n{intent}\n",
    end=None,
    beams=2,
    candidates=2,
    max_new_tokens=8,
    stop_strings=("\n",),
)


def run_of(folder: Path, text: str) -> Run:
    resolved = resolve("quickstart", models=[CELL.model], techniques=[CELL.technique], settings=["icl=null"])
    study = resolved.study.model_copy(update={"question": text})
    changed = {
        kind: {name: one.model_copy(update={"title": text}) for name, one in getattr(resolved, kind).items()}
        for kind in ("models", "datasets", "techniques")
    }
    run = Run(folder)
    write_text(run.study_file, resolved.dump())
    vars(run)["plan"] = replace(run.plan, resolved=resolved.model_copy(update={"study": study, **changed}))
    write_json(
        run.cell_folder(CELL) / "selection.json",
        {
            "trial": CELL.trial_name(0),
            "number": 0,
            "paper_point": True,
            "em@10": 50.0,
            "hyperparameters": {"target_modules": text.encode("utf-8", "replace").decode()},
            "checkpoint_report": 4,
            "validation_loss": 1.25,
            "training_seconds": 9.0,
            "peak_memory_mib": 512.0,
            "trainable_parameters": 12288,
            "parameters": 1012288,
            "select_by": "loss",
            "considered": 2,
        },
    )
    return run


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_texts_are_only_text(tmp_path: Path, payload: str) -> None:
    """The card as a Markdown reader with tables and HTML takes it: no element comes from a text."""
    prompt = f"{payload}\n```\nSay {{intent}}\n"
    snippet = replace(SNIPPET, prompt=prompt, stop_strings=(payload,))
    written = card(Export(run_of(tmp_path, payload), CELL, payload, "decoder", snippet, False, payload))
    assert written.encode("utf-8").decode() == printable(written)
    _, front, body = re.split(r"^---\n", written, maxsplit=2, flags=re.MULTILINE)
    metadata = yaml.safe_load(front)
    assert list(metadata) == ["license", "base_model", "library_name", "pipeline_tag", "language", "tags"]
    assert (metadata["library_name"], metadata["base_model"]) == ("peft", one_line(payload))
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    inside = [child for token in tokens for child in token.children or []]
    kinds = {token.type for token in (*tokens, *inside)}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "em_open", "strong_open", "code_block"}
    titles = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    assert titles[1:] == ["Results", "Use", "Training", "Data and licences"]
    fences = [token.content for token in tokens if token.type == "fence"]
    assert fences == [f"{snippet}\n", f"{printable(prompt)}\n"]
    shown = "".join(child.content for child in inside)
    assert shown.count(one_line(payload)) >= 9, "a text stands in the card as it is"
    assert [len(token.meta or {}) for token in tokens if token.type == "table_open"] == [0]
