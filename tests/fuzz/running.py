"""Running one command in this process, as `raypeft` would, and judging how it ended."""

import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from raypeft.cli import main
from tests.fuzz.case import Case

SECONDS = 10
PATIENCE = 3
LONGEST_MESSAGE = 2_500  # bytes, on exit code 2


class TooLong(BaseException):
    """A command has taken more than its time."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code; none where it raised something.
        out, err: what it printed.
        raised: traceback of what it raised.
    """

    code: int | None
    out: str
    err: str
    raised: str | None = None


def run(case: Case) -> Ended:
    """Lay the files of a case and run its command."""
    import raypeft.evaluation.given  # noqa: F401  once, outside the limit: a broken import of torch cannot be mended

    case.prepare()
    environment, folder, streams, arguments = dict(os.environ), os.getcwd(), (sys.stdout, sys.stderr), sys.argv
    out, err = _stream("strict"), _stream("backslashreplace")
    code: int | None = None
    raised = None
    try:
        os.chdir(case.cwd)
        sys.stdout, sys.stderr, sys.argv = out, err, ["raypeft", *case.arguments]
        with _limited():
            main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except TooLong:
        raised = f"took more than {SECONDS} s\n{_innermost(traceback.format_exc())}"
    except BaseException:
        raised = traceback.format_exc()
    finally:
        sys.stdout, sys.stderr = streams
        sys.argv = arguments
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
    return Ended(code, _text(out), _text(err), raised)


def fault(case: Case, ended: Ended) -> str | None:
    """What is wrong with how a command ended; none where it is as it should be."""
    if ended.raised is not None:
        return ended.raised
    printed = ended.out + ended.err
    if "Traceback (most recent call last)" in printed:
        return f"printed a traceback:\n{printed[-3000:]}"
    if "Aborted!" in printed:
        return "printed Aborted!"
    if ended.code not in case.allowed:
        return f"exit code {ended.code}: {printed[-500:]}"
    if ended.code == 2 and len(ended.err.encode(errors="replace")) > LONGEST_MESSAGE:
        return f"a message of {len(ended.err)} characters: {ended.err[:300]}"
    if ended.code == 2 and not ended.err.strip():
        return "exit code 2 without a message"
    return None


@contextmanager
def _limited() -> Iterator[None]:
    """Raise `TooLong` in the block once its time is over; a timer that runs already goes on afterwards.

    Its time is that of the processor, on a machine that does other things as well, and some three times as much by the
    clock, for what only waits.
    """
    begun = time.process_time(), time.monotonic()

    def end(signum: int, frame: FrameType | None) -> None:
        if time.process_time() - begun[0] >= SECONDS or time.monotonic() - begun[1] >= PATIENCE * SECONDS:
            raise TooLong

    handlers = {number: signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGALRM, end)
    left, _ = signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, left)


def _stream(errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8", "replace")


def _innermost(text: str) -> str:
    return "\n".join(text.splitlines()[-12:])
