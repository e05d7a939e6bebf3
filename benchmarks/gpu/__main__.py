"""What only a GPU can tell, in one command: peaks against estimates, speed, and a study through Ray on the real card.

    python -m benchmarks.gpu --out gpu.json
    python -m benchmarks.gpu --dry            # every part on tiny shapes, also without a GPU

Parts run one after the other, most telling ones first. Each result is printed and written to the file as soon as it is
there; started again, the command goes on with what the file does not have. No part begins when `--minutes` are over.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.gpu import study

ROOT = Path(__file__).resolve().parents[2]
IN_ONE_PROCESS = ("peak", "card", "decoding")  # libraries and CUDA take some twenty seconds to start


def parts(dry: bool) -> list[str]:
    """Names of all parts in order."""
    from benchmarks.gpu.rows import DRY, ROWS

    peaks = [f"peak {row.name}" for row in (DRY if dry else ROWS)]
    model = "tiny-decoder" if dry else "codellama-7b-python"
    speed = ["card", *(f"decoding {model} {technique}" for technique in ("lora", "qlora_4bit"))]
    return [*peaks[:4], *speed, "study whole", "study killed", *peaks[4:], "tests"]


def measure(part: str, work: Path, dry: bool) -> dict[str, Any]:
    """Run a part of those that take place in this process."""
    from benchmarks.gpu import peaks, speed
    from benchmarks.gpu.rows import DRY, ROWS

    kind, *words = part.split()
    if kind == "card":
        return speed.card(dry)
    if kind == "decoding":
        return speed.decoding(words[0], words[1], work, dry)
    return peaks.measure({row.name: row for row in (*ROWS, *DRY)}[" ".join(words)], work)


def tests() -> dict[str, Any]:
    """The tests that need a GPU."""
    arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "tests/modeling"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 5):
        raise RuntimeError(done.stdout[-6000:])
    return {"exit_code": done.returncode, "said": done.stdout.strip().splitlines()[-1]}


def results(asked: list[str], dry: bool, deadline: float) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Results of parts of one kind, or why one failed."""
    if not asked[0].startswith(IN_ONE_PROCESS):
        for part in asked:
            with tempfile.TemporaryDirectory() as work:
                try:
                    kinds = {"study whole": study.whole, "study killed": study.killed}
                    yield part, kinds[part](Path(work)) if part in kinds else tests()
                except Exception:
                    yield part, traceback.format_exc()
        return
    arguments = ["--parts", json.dumps(asked), "--until", str(deadline), *(["--dry"] if dry else [])]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu", *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("{"):
                yield from json.loads(line).items()


def child(asked: list[str], dry: bool, deadline: float) -> None:
    """Print the result of each part, or the traceback of its fault, in a line of JSON."""
    for part in asked:
        if time.time() > deadline:
            return
        with tempfile.TemporaryDirectory() as work:
            try:
                found: dict[str, Any] | str = measure(part, Path(work), dry)
            except Exception:
                found = traceback.format_exc()
        print(json.dumps({part: found}), flush=True)


def main() -> None:
    """Run what is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--only", nargs="+", help="parts whose names begin so")
    parser.add_argument("--dry", action="store_true", help="on tiny shapes, also without a GPU")
    parser.add_argument("--parts", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.parts:
        child(json.loads(asked.parts), asked.dry, asked.until)
        return
    deadline = time.time() + 60 * asked.minutes
    found: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    names = parts(asked.dry)
    left = [part for part in names if part not in found and (not asked.only or part.startswith(tuple(asked.only)))]
    failed = 0
    for _, group in groupby(left, key=lambda part: part if not part.startswith(IN_ONE_PROCESS) else "one process"):
        if time.time() > deadline:
            break
        started = time.monotonic()
        for part, result in results(list(group), asked.dry, deadline):
            seconds, started = time.monotonic() - started, time.monotonic()
            if isinstance(result, str):
                print(f"{part}: FAILED after {seconds:.0f} s\n{result}", flush=True)
                failed += 1
                continue
            found[part] = result | {"wall_seconds": round(seconds, 1)}
            scratch = asked.out.with_name(f".{asked.out.name}")
            scratch.write_text(json.dumps(found, indent=1))
            scratch.replace(asked.out)
            print(f"{part}: {in_a_line(found[part])}", flush=True)
    if waiting := [part for part in left if part not in found]:
        print(f"{len(waiting)} of {len(left)} parts are left: {'; '.join(waiting)}")
    sys.exit(min(failed, 1))


def in_a_line(found: dict[str, Any]) -> str:
    """A part's result in a line; of a peak estimated and measured MiB."""
    if "estimated" not in found:
        return json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in found.items()})
    phases = []
    for phase, measured in found["measured"].items():
        estimated = found["estimated"][phase]
        share = f"{estimated / measured - 1:+.1%}" if measured else ""
        phases.append(f"{phase} {estimated:,.0f} / {f'{measured:,.0f}' if measured else '-'} MiB {share}")
    speed = found["training_tokens_per_second"]
    ladder = f"micro-batch {found['micro_batch']}{' with checkpointing' if found['checkpointing'] else ''}"
    return ", ".join(
        [
            found["end"] or "no end",
            *phases,
            ladder,
            f"decode batch {found['decode_batch']}",
            f"fits: {found['fits']}",
            f"{speed:,.0f} tokens/s" if speed else "no speed",
            f"{found['wall_seconds']:.0f} s" + (f", {found['error']}" if found.get("error") else ""),
        ]
    )


if __name__ == "__main__":
    main()
