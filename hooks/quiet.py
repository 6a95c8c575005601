"""A Jinja extension that renders nothing: it lets a hook end cookiecutter with its own status and one line."""

import logging
import sys

import click
from jinja2.ext import Extension


class Quiet(Extension):
    """No traceback follows a hook that has said why it stopped."""

    def __init__(self, environment) -> None:
        super().__init__(environment)
        logging.getLogger("cookiecutter.hooks").addFilter(end_with_the_status_of_the_hook)


def end_with_the_status_of_the_hook(record: logging.LogRecord) -> bool:
    """The command line ends with the hook's status; other callers get cookiecutter's exception; neither a traceback."""
    error = sys.exc_info()[1]  # cookiecutter is handling it while it logs
    status = str(error).partition("exit status: ")[2].rstrip(")")
    if status.isdigit() and click.get_current_context(silent=True):
        raise SystemExit(int(status))
    return not status
