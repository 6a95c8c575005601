"""End cookiecutter without a traceback: with the status of a hook, or for an answer that it cannot render."""

import logging
import shutil
import sys
from pathlib import Path

import click
from jinja2.ext import Extension

from hooks.outcome import NAME, REFUSED


class Quiet(Extension):
    """A Jinja extension that adds nothing to templates: it filters what cookiecutter logs, and refuses some answers."""

    def __init__(self, environment) -> None:
        """Add the filter to cookiecutter's logger of hooks."""
        super().__init__(environment)
        logging.getLogger("cookiecutter.hooks").addFilter(exit_with_status_of_hook)

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return a source as it is, unless it is an answer with a statement or an open brace.

        cookiecutter renders answers given on its command line before any hook can read them. No question, file name or
        hook of this template has such a source.

        Raises:
            SystemExit: On the command line, after saying so in one line.
        """
        odd = any(mark in source for mark in ("{%", "%}", "{#")) or source.count("{{") != source.count("}}")
        if name is None and odd and click.get_current_context(silent=True):
            print(f"{NAME}: {source!r} may not contain braces such as {{{{ or {{%", file=sys.stderr)
            copy = Path(__file__).resolve().parents[1]
            if (copy / ".ladder-run.json").exists():  # cookiecutter's own copy of the template
                shutil.rmtree(copy.parent, ignore_errors=True)
            raise SystemExit(REFUSED)
        return source


def exit_with_status_of_hook(record: logging.LogRecord) -> bool:
    """Exit with the status of a hook that failed, when cookiecutter logs that on the command line.

    Returns:
        Whether the message should be logged; it is not for a failed hook, since that has said why it stopped.

    Raises:
        SystemExit: On the command line; other callers get cookiecutter's own exception.
    """
    error = sys.exc_info()[1]  # cookiecutter is handling it while it logs
    status = str(error).partition("exit status: ")[2].rstrip(")")
    if status.isdigit() and click.get_current_context(silent=True):
        raise SystemExit(int(status))
    return not status
