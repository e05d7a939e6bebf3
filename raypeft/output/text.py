"""How numbers and texts are shown to a reader; CSV and JSON carry them unrounded."""

import re
from collections.abc import Mapping
from typing import Any

ABSENT = "–"
UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
_CREDENTIALS = re.compile(r"(\w://)[^/\s@]+@")
_LONGEST_ERROR = 200


def percent(value: float) -> str:
    """A share in percent, one decimal."""
    return f"{value:.1f}"


def points(value: float) -> str:
    """A difference of percentages, signed."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def interval(bounds: Any) -> str:
    """Low and high bound of a percentage."""
    return f"{percent(bounds.low)} to {percent(bounds.high)}".replace("-", "−")


def p_value(value: float) -> str:
    """A p-value; very small ones as a bound."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def loss(value: float) -> str:
    """A loss in nats a token."""
    return f"{value:.3f}"


def count(value: int) -> str:
    """A whole number with its thousands set apart."""
    return f"{value:,}"


def seconds(value: float) -> str:
    """Seconds: one decimal while it matters."""
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """As `1h 02m`, `3m 04s` or `5s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def size(count: float) -> str:
    """Bytes in decimal units, as disks are sold: `892 MB`, `13.5 GB`."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def mebibytes(value: float) -> str:
    """Memory in MiB."""
    return f"{value:,.0f}"


def setting(value: Any) -> str:
    """A hyperparameter's value: three significant digits for a float."""
    if isinstance(value, float):
        return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e+")
    return str(value)


def hyperparameters(values: Mapping[str, Any]) -> str:
    """Hyperparameters as `name = value`, in the order they stand."""
    return ", ".join(f"{name} = {setting(value)}" for name, value in values.items())


def counts(values: Mapping[Any, int]) -> str:
    """Numbers of things by state, such as `1 finished, 3 stopped`."""
    return ", ".join(f"{number} {state}" for state, number in values.items() if number)


def joined(parts: list[str]) -> str:
    """A list in prose: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def printable(text: str) -> str:
    """Replace what no document or terminal may be given: controls, changes of writing direction, lone surrogates."""
    return UNPRINTABLE.sub("\ufffd", text)


def discreet(text: str) -> str:
    """Printable text without the names and passwords of addresses, as of proxies and mirrors."""
    return _CREDENTIALS.sub(r"\1…@", printable(text))


def one_line(text: str) -> str:
    """Printable text with every run of white space as one space."""
    return printable(" ".join(text.split()))


def markdown(text: str) -> str:
    """Text that Markdown and the HTML inside it leave alone; underscores inside words need nothing."""
    return re.sub(r"[\\`*\[\]<>|~&$]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def last_line(traceback: str) -> str:
    """The last line of a traceback that says anything: the error itself, shortened."""
    text = next((one_line(line) for line in reversed(traceback.splitlines()) if line.strip()), "unknown error")
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"
