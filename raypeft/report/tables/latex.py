"""Tables as LaTeX for a paper: booktabs rules, everything from the run escaped, no package but the usual ones."""

from collections.abc import Iterable

from raypeft.report.tables.table import Column, Table

# More rows than fit a page are set as a table that breaks across pages.
_PAGE = 40

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "{}$&#%_"},
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "−": r"\ensuremath{-}",
    "±": r"\ensuremath{\pm}",
    "–": "--",
    "…": r"\ldots{}",
    "·": r"\textperiodcentered{}",
}


def to_latex(table: Table) -> str:
    """The table with its caption, for `\\input` into a document that loads booktabs, graphicx and longtable."""
    columns = table.visible
    head = [f"{' & '.join(escape(column.title) for column in columns)} \\\\"]
    body = [f"{' & '.join(_cell(table, column, row) for column in columns)} \\\\" for row in table.rows]
    layout = "".join(map(_alignment, columns))
    rows = _paged if len(body) > _PAGE else _floating
    preamble = "% Needs \\usepackage[T1]{fontenc} and the packages textcomp, booktabs, graphicx and longtable."
    return "\n".join([preamble, *rows(table, layout, head, body)]) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX sets as it is; letters that its standard fonts do not have become question marks."""
    return "".join(_SPECIAL.get(character) or _printable(character) for character in text)


def _printable(character: str) -> str:
    return character if " " <= character <= "~" or "¡" <= character <= "ſ" else "?"


def _alignment(column: Column) -> str:
    if column.long:
        return "p{4cm}"
    return "r" if column.numeric else "l"


def _cell(table: Table, column: Column, row: object) -> str:
    text = escape(column.text(row))
    return f"\\textbf{{{text}}}" if table.bold(column, row) else text


def _floating(table: Table, layout: str, head: list[str], body: list[str]) -> Iterable[str]:
    return [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{escape(table.title)}. {escape(table.caption)}}}",
        f"\\label{{tab:{table.name}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"\\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        *head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]


def _paged(table: Table, layout: str, head: list[str], body: list[str]) -> Iterable[str]:
    return [
        r"{\tiny\setlength{\tabcolsep}{2pt}",
        f"\\begin{{longtable}}{{{layout}}}",
        f"\\caption{{{escape(table.title)}. {escape(table.caption)}}}\\label{{tab:{table.name}}}\\\\",
        r"\toprule",
        *head,
        r"\midrule",
        r"\endhead",
        *body,
        r"\bottomrule",
        r"\end{longtable}}",
    ]
