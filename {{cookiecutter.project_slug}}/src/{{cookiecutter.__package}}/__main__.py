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
    """Take snapshots, check them, write reports/data.html; bad data changes no snapshot."""
    from .data import TABLES
    from .datasets import catalog, report

    sections = []
    with catalog.fetched() as changed:
        try:
            for table in TABLES:
                sections.append(report.table_section(table, table.rows()))
                print(f"{table.name}: all checks hold", flush=True)
        except report.BadData as bad:
            sections.append(report.failure_section(table, bad))
            raise
        finally:
            report.write_page(report.REPORT, "Data", sections)
    for name, entry in catalog.locked().items():
        state = "new snapshot" if name in changed else "unchanged"
        print(f"{name}: {entry['rows']} rows, {entry['columns']} columns, {entry['sha256'][:12]}, {state}")
    print(f"report: {report.REPORT.relative_to(ROOT).as_posix()}")


for module in iter_modules([str(Path(__file__).parent / "commands")]):
    for command in import_module(f".commands.{module.name}", __package__).COMMANDS:
        main.add_command(command)

if __name__ == "__main__":
    main(prog_name=f"python -m {__package__}")
