"""The command line: `uv run python -m <package> --help`. Each level adds a module to commands/."""

import gc
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import click

from . import ROOT, Refused


class Commands(click.Group):
    """The project's commands: a refusal ends one with a message and status 1."""

    def invoke(self, context: click.Context) -> object:
        """Run a command; print the message of a refusal, without a traceback."""
        try:
            return super().invoke(context)
        except Refused as refusal:
            click.echo(f"error: {refusal}", err=True)
            sys.exit(1)
        finally:
            gc.freeze()  # the process ends: a search for garbage would take a quarter of a second


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Take snapshots of data; from higher levels on also train, judge and serve models."""


@main.command()
def data() -> None:
    """Take snapshots, check them, write reports/data.html and findings.csv; bad data changes no snapshot."""
    from .data import TABLES
    from .datasets import catalog, checks, report
    from .datasets.jumps import earlier_rows, jumps
    from .datasets.suspects import suspects

    sections, findings, refused = [], {}, []
    with catalog.fetched() as changed:
        for table in TABLES:
            try:
                rows = table.rows()
            except checks.BadData as bad:
                findings[table.name] = bad.findings
                sections.append(report.failure_section(table, bad))
                refused.append(str(bad))
            else:
                earlier = earlier_rows(table)
                findings[table.name] = [*jumps(table, rows, earlier), *suspects(table, rows)]
                sections += report.table_sections(table, rows, findings[table.name], earlier)
                print("\n".join(checks.verdict(table.name, findings[table.name], len(rows))), flush=True)
        report.write_data(sections)
        checks.write_findings(findings)
        if refused:
            raise Refused("\n".join([*refused, f"reports/{checks.FINDINGS.name} has this as a file"]))
    for name, entry in catalog.locked().items():
        state = "new snapshot" if name in changed else "unchanged"
        print(f"{name}: {entry['rows']} rows, {entry['columns']} columns, {entry['sha256'][:12]}, {state}")
    print(f"report: {report.REPORT.relative_to(ROOT).as_posix()}")


for module in iter_modules([str(Path(__file__).parent / "commands")]):
    for command in import_module(f".commands.{module.name}", __package__).COMMANDS:
        main.add_command(command)

if __name__ == "__main__":
    main(prog_name=f"python -m {__package__}")
