"""The command line: `uv run python -m <package> --help`. Each level adds a module to commands/."""

import gc
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import click

from . import ROOT, Refused


class Commands(click.Group):
    """The project's commands: a refusal, or a library that is not installed, ends one with a message and status 1."""

    def invoke(self, context: click.Context) -> object:
        """Run a command; print what a refusal or a missing library calls for, without a traceback."""
        try:
            return super().invoke(context)
        except Refused as refusal:
            click.echo(f"error: {refusal}", err=True)
            sys.exit(1)
        except ModuleNotFoundError as missing:
            library = (missing.name or __package__).partition(".")[0]
            if library == __package__:
                raise
            click.echo(f"error: {library} is not installed: add it with `uv add`", err=True)
            sys.exit(1)
        finally:
            gc.freeze()  # the process ends: a search for garbage would take a quarter of a second


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Take snapshots of data; from higher levels on also train, judge and serve models."""


@main.command()
@click.argument("sources", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Read every source, due or not, and queries whole.")
@click.option("--at", "commit", help="Bring the snapshots and the lock of this commit back instead; read nothing.")
@click.option("--prune", is_flag=True, help="Delete the snapshots that no commit names instead; read nothing.")
def data(sources: tuple[str, ...], everything: bool, commit: str | None, prune: bool) -> None:
    """Take snapshots, check them, write reports/data.html and findings.csv; bad data changes no snapshot.

    A source is read when its `refresh` is due, or if SOURCES names it.
    """
    from .datasets import catalog

    if commit:
        for name, entry in catalog.bring_back(commit).items():
            print(f"{described(name, entry)}, as of {commit}")
    elif prune:
        count, size = catalog.prune()
        print(f"{count} files freed, {size / 1e6:.1f} MB: no branch or tag names them, or the store has them")
    else:
        take_snapshots(sources, everything)


def described(name: str, entry: dict) -> str:
    """Return how large a source's snapshot is, and the first characters of its hash."""
    from .datasets.snapshots import short_hash

    return f"{name}: {entry['rows']} rows, {entry['columns']} columns, {short_hash(entry['sha256'])}"


def take_snapshots(sources: tuple[str, ...], everything: bool) -> None:
    """Take snapshots of what is due, or all, and of these sources; check all tables and write the report."""
    from .data import TABLES
    from .datasets import catalog, checks, history, report
    from .datasets.suspects import jumps, stale_sources, suspects

    sections, findings, refused = [], {}, []
    with catalog.fetched(asked=sources, everything=everything) as changed:
        for table in TABLES:
            try:
                rows, aside, why = table.sifted()
            except checks.BadData as bad:
                findings[table.name] = bad.findings
                sections.append(report.failure_section(table, bad))
                refused.append(str(bad))
            else:
                earlier = history.earlier(table, rows)
                findings[table.name] = [
                    *checks.set_aside(table.name, aside, why),
                    *jumps(table, rows, earlier),
                    *suspects(table, rows),
                ]
                sections += report.table_sections(table, rows, findings[table.name], earlier)
                print("\n".join(checks.verdict(table.name, findings[table.name], len(rows))), flush=True)
        for name, stale in stale_sources().items():
            findings[name] = [*findings.get(name, []), stale]
            print(f"  warning: source {name}: {stale.check}")
        report.write_data(sections)
        checks.write_findings(findings)
        if refused:
            raise Refused("\n".join([*refused, f"reports/{checks.FINDINGS.name} has this as a file"]))
    for name, entry in catalog.locked().items():
        state = "new snapshot" if name in changed else "unchanged"
        print(f"{described(name, entry)}, {state}")
    print(f"report: {report.REPORT.relative_to(ROOT).as_posix()}")


@main.command()
@click.argument("table")
def schema(table: str) -> None:
    """Print a schema drafted from the rows of a TABLE of data.py, or of a source of data/catalog.yaml."""
    from .data import TABLES
    from .datasets.draft import draft

    print(draft(table, TABLES))


for module in iter_modules([str(Path(__file__).parent / "commands")]):
    for command in import_module(f".commands.{module.name}", __package__).COMMANDS:
        main.add_command(command)

if __name__ == "__main__":
    main(prog_name=f"python -m {__package__}")
