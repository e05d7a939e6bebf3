"""`python -m tests.fuzz --cases 5000 --seed N [--only KIND] [--skip N]`."""

import argparse
import faulthandler
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path

from tests.fuzz.kinds import NAMES, drawn
from tests.fuzz.running import SECONDS, fault, run

MEMORY = 6 * 2**30  # a command that needs more is at fault
SHOWN = 40


def main() -> int:
    """Try cases; 1 where any is at fault, each kind of fault with a command that shows it again."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=NAMES)
    parser.add_argument("--skip", type=int, default=0, help="cases of each kind to leave out")
    chosen = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    counts: Counter[str] = Counter()
    codes: Counter[object] = Counter()
    faults: dict[str, list[str]] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        cases = drawn(chosen.seed, Path(os.path.realpath(folder)), chosen.only, chosen.skip)
        for index, (kind, number, case) in enumerate(islice(cases, chosen.cases)):
            faulthandler.dump_traceback_later(6 * SECONDS, exit=True)  # where no signal ends it
            ended = run(case)
            faulthandler.cancel_dump_traceback_later()
            counts[kind] += 1
            codes[ended.code] += 1
            if wrong := fault(case, ended):
                again = f"--only {kind} --seed {chosen.seed} --skip {number} --cases 1   # {case.label}"
                faults.setdefault(_place(wrong), []).append(again)
                if len(faults[_place(wrong)]) == 1:
                    print(f"\n{again}\n{case.arguments!r:.300}\n{_tail(wrong)}", flush=True)
            if (index + 1) % 500 == 0:
                print(f"{index + 1} of {chosen.cases}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    bad = sum(map(len, faults.values()))
    print(f"\n{dict(counts)} cases in {time.monotonic() - began:.0f} s, exit codes {dict(codes)}: {bad} at fault")
    for place, lines in sorted(faults.items(), key=lambda item: -len(item[1]))[:SHOWN]:
        print(f"{len(lines):6} {place}\n       {lines[0]}")
    return 1 if faults else 0


def _place(wrong: str) -> str:
    """What faults of one kind have in common: the innermost line of the package, and the kind of error."""
    lines = [line.strip() for line in wrong.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("File ") and "/raypeft/" in line]
    last = lines[-1].split(":")[0][:100] if own else lines[0][:60]
    return f"{own[-1].split('/raypeft/')[-1]}: {last}" if own else last


def _tail(wrong: str) -> str:
    return "\n".join(wrong.splitlines()[-12:])[-2000:]


if __name__ == "__main__":
    sys.exit(main())
