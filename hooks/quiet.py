"""Let a hook end cookiecutter with its own exit status, and without a traceback."""

import logging
import sys

import click
from jinja2.ext import Extension


class Quiet(Extension):
    """A Jinja extension that adds nothing to templates: it only filters what cookiecutter logs about its hooks."""

    def __init__(self, environment) -> None:
        """Add the filter to cookiecutter's logger of hooks."""
        super().__init__(environment)
        logging.getLogger("cookiecutter.hooks").addFilter(exit_with_status_of_hook)


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
