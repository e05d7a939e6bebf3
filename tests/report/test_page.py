"""The page: complete, self-contained, inert, and in step with the tables."""

import csv
import json
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.recording import HOSTILE, prediction
from raypeft.output.files import append_line
from raypeft.output.text import printable
from raypeft.report import write
from raypeft.report.numbers.gather import gather
from raypeft.report.page import page as page_module
from raypeft.report.page.browsing import browsable
from raypeft.runs.folder import Run


class Page(HTMLParser):
    """Tags with attributes, text, and rows of tables by the heading of their section."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.rows: dict[str, list[list[str]]] = {}
        self.scripts: list[str] = []
        self._section = ""
        self._script = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._script = tag == "script"
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        if tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        if tag in ("td", "th"):
            self.rows[self._section][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts.append(data)
            return
        self.text += data
        rows = self.rows.get(self._section)
        if rows and rows[-1]:
            rows[-1][-1] += data.strip("\n")


def test_the_whole_report_is_written(reported: Run) -> None:
    assert sorted(path.name for path in (reported.folder / "report" / "tables").iterdir()) == [
        f"{name}.{suffix}"
        for name in ("cells", "comparison", "differences", "icl", "memory", "trials")
        for suffix in ("csv", "md", "tex")
    ]
    assert not list(reported.folder.rglob("*.tmp"))


def test_a_report_of_the_same_record_is_the_same(reported: Run, partial: Run) -> None:
    assert write(partial).read_bytes() == (reported.report_folder / "index.html").read_bytes()


def test_nothing_outside_the_file_is_asked_for(reported: Run) -> None:
    page = Page(reported.report_folder / "index.html")
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "predictions-data"}, {}]
    assert not {"link", "iframe", "object", "embed", "img", "base", "form"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "srcset", "action", "xlink:href", "style"):
            assert "//" not in (attributes.get(name) or "")
        if "href" in attributes:
            assert (attributes["href"] or "").startswith(("#", "tables/"))
    policy = next(attributes for tag, attributes in page.tags if attributes.get("http-equiv"))
    content = policy["content"] or ""
    assert content.startswith("default-src 'none'")
    script = (Path(page_module.__file__).parent / "templates" / "page.js").read_bytes()
    assert f"script-src 'sha256-{b64encode(sha256(script).digest()).decode()}'" in content


def test_links_lead_somewhere(reported: Run) -> None:
    index = reported.report_folder / "index.html"
    page = Page(index)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        if tag == "a":
            target = attributes["href"] or ""
            assert target[1:] in ids if target.startswith("#") else (index.parent / target).is_file()


def test_tables_of_page_and_files_agree(reported: Run) -> None:
    index = reported.report_folder / "index.html"
    rows = Page(index).rows
    with (index.parent / "tables" / "cells.csv").open(encoding="utf-8") as stream:
        cells = list(csv.DictReader(stream))
    header, *shown = rows["cells"]
    assert len(shown) == len(cells) == 6
    for row, cell in zip(shown, cells, strict=True):
        by_title = dict(zip(header, row, strict=True))
        for title, key in (("EM@10", "em@10"), ("EM@1", "em@1"), ("CodeBLEU", "codebleu"), ("flat", "codebleu_flat")):
            assert by_title[title] == (f"{float(cell[key]):.1f}" if cell[key] else "–")
    assert rows["icl"][2][2:4] == ["2", "16.0 ± 4.6"]
    assert len(rows["trials"]) == 1 + 14


def test_cells_without_a_result_say_why(reported: Run) -> None:
    page = Page(reported.report_folder / "index.html")
    header, *rows = page.rows["cells"]
    result = {row[0] + "/" + row[2]: row[header.index("Result")] for row in rows}
    assert result["Tiny encoder-decoder/LoRA"] == "no usable trial: all 3 trials ended as oom"
    assert result["Tiny encoder-decoder/IA3"] == "not begun: no trial has reported yet"
    assert "No curve: all 3 trials ended as oom." in page.text
    assert "torch.OutOfMemoryError: tried 2 GiB" in page.text


def test_hostile_text_is_shown_and_inert(partial: Run) -> None:
    content = yaml.safe_load(partial.study_file.read_text(encoding="utf-8"))
    content["study"]["question"] = content["models"]["tiny-decoder"]["title"] = HOSTILE
    content["techniques"]["lora"]["title"] = HOSTILE
    partial.study_file.write_text(yaml.safe_dump(content), encoding="utf-8")
    page = Page(write(Run(partial.folder)))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 2 and "img" not in tags
    for needle in (printable(HOSTILE), f"RuntimeError: {printable(HOSTILE)}"):
        assert needle in page.text
    assert "\x1b" not in page.text and "\x00" not in page.text


def browsed(page: Page) -> list[dict[str, Any]]:
    """What the page's script reads."""
    return json.loads(page.scripts[0])


def test_lone_surrogates_do_not_break_the_page(partial: Run) -> None:
    predictions = next(partial.folder.glob("cells/tiny-decoder/snippets/ia3")) / "predictions.jsonl"
    row = {**prediction(7), "candidates": ["\ud800 lone"]}
    predictions.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (snippets,) = browsed(Page(write(partial)))
    assert snippets["systems"][1]["rows"][0][0] == ["\ufffd lone"]


def test_predictions_are_carried_with_scores_and_matches(reported: Run) -> None:
    (snippets,) = browsed(Page(reported.report_folder / "index.html"))
    assert snippets["title"] == "Snippets" and len(snippets["items"]) == 25
    assert snippets["items"][2] == ["test-002", "intent 2 & more", "answer_2()"]
    (lora,) = snippets["systems"]
    assert lora["title"] == "Tiny decoder, LoRA"
    candidates, scores, matches = lora["rows"][2]
    assert (candidates[4], scores[4], matches) == ("  answer_2()", -4.0, [5])
    assert lora["rows"][3][2] == []


def test_what_a_model_wrote_cannot_leave_its_data(reported: Run) -> None:
    page = Page(reported.report_folder / "index.html")
    assert not {"<", ">", "&"} & set(page.scripts[0]) and page.scripts[0].isascii()
    assert browsed(page)[0]["systems"][0]["rows"][0][0][0] == printable(HOSTILE)


def test_too_many_predictions_are_drawn_from(compared: Run) -> None:
    numbers = gather(compared)
    whole, part, again = browsable(numbers), browsable(numbers, 12_000), browsable(numbers, 12_000)
    assert whole.complete and whole.shown == {"snippets": 40}
    assert not part.complete and part == again and 5 <= part.shown["snippets"] <= 15
    (snippets,) = json.loads(part.data)
    ids = [item[0] for item in snippets["items"]]
    assert ids == sorted(ids)
    assert [system["title"] for system in snippets["systems"]] == [
        "Tiny decoder, LoRA",
        "Tiny decoder, IA3",
        "Tiny decoder, Prefix tuning",
        "Tiny decoder, ICL with 2 examples, seed 1",
    ]
    # LoRA has items 0 to 29 right: every system shows the same items.
    assert [bool(row[2]) for row in snippets["systems"][0]["rows"]] == [int(one[-3:]) < 30 for one in ids]


@pytest.mark.parametrize("torn", [False, True])
def test_a_run_in_which_nothing_has_happened_has_a_report(empty: Run, torn: bool) -> None:
    if torn:
        empty.reports_file.write_text('{"trial": "tiny-', encoding="utf-8")
    text = Page(write(empty)).text
    assert "None of the 6 cells has a test result" in text
    assert "No manifest has been written yet." in text


def test_neither_torch_nor_ray_is_imported(partial: Run) -> None:
    code = (
        "import sys; from pathlib import Path; from raypeft.report import write; from raypeft.runs.folder import Run; "
        f"write(Run.open(Path({str(partial.folder)!r}))); "
        "assert not {'torch', 'ray', 'transformers', 'peft'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_report_follows_the_record(partial: Run) -> None:
    append_line(partial.trials_file, {**next(partial.trials()).content(), "state": "nan"})
    assert "1 nan" in Page(write(Run(partial.folder))).text
