"""The report of a run: tables, figures and one HTML page, written from the run folder alone."""

from pathlib import Path

from raypeft.runs.folder import Run

__all__ = ["is_current", "write", "write_peft"]


def write(run: Run) -> Path:
    """Write the report of a run as far as it has come, and return its `index.html`.

    Writes `report/tables/*.{md,csv,tex}`, `report/figures/*.{svg,png}`, `report/results.{json,parquet}` and, last,
    `report/index.html`, each atomically. Reads only the run folder; needs neither torch nor ray.

    Raises:
        UserError: the run's `study.yaml` is missing or invalid.
    """
    # matplotlib, scipy and jinja2 take seconds to import, which verbs that only read numbers do not have to wait for.
    from raypeft.output.files import write_bytes, write_text
    from raypeft.report.figures.drawing import write_figures
    from raypeft.report.numbers.gather import gather
    from raypeft.report.numbers.weighing import weigh
    from raypeft.report.outputs.results import to_json, to_parquet
    from raypeft.report.page.page import render
    from raypeft.report.paper.tables import paper_tables
    from raypeft.report.paper.values import Paper
    from raypeft.report.tables.cells import cell_table, memory_table, trial_table
    from raypeft.report.tables.differences import difference_table
    from raypeft.report.tables.icl import comparison_table, icl_table
    from raypeft.report.tables.latex import to_latex
    from raypeft.report.tables.table import to_csv, to_markdown

    numbers = weigh(gather(run))
    makers = (comparison_table, cell_table, difference_table, icl_table, memory_table, trial_table)
    tables = [make(numbers) for make in makers]
    tables += paper_tables(Paper(numbers))
    for table in tables:
        for suffix, export in (("csv", to_csv), ("md", to_markdown), ("tex", to_latex)):
            write_text(run.report_folder / "tables" / f"{table.name}.{suffix}", export(table))
    write_text(run.report_folder / "results.json", to_json(numbers, tables))
    write_bytes(run.report_folder / "results.parquet", to_parquet(numbers))
    figures = write_figures(numbers, run.report_folder / "figures")
    index = run.report_folder / "index.html"
    write_text(index, render(numbers, {table.name: table for table in tables}, figures))
    return index


def is_current(run: Run) -> bool:
    """Whether the page of a run is younger than all that it is made from."""
    page = run.report_folder / "index.html"
    if not page.exists():
        return False
    sources = [run.study_file, run.manifest_file, run.reports_file, run.trials_file]
    sources += [path for name in ("cells", "icl") for path in (run.folder / name).rglob("*")]
    return max(path.stat().st_mtime_ns for path in sources if path.exists()) < page.stat().st_mtime_ns


def write_peft(run: Run) -> Path:
    """Write the tested cells in the schema of peft's `method_comparison`, and return the folder they lie in."""
    from raypeft.report.numbers.gather import gather
    from raypeft.report.outputs.method_comparison import write_method_comparison

    folder = run.report_folder / "peft"
    write_method_comparison(gather(run), folder)
    return folder
