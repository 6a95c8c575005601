"""A long fit says what it is doing, a fast one nothing."""

import time
from importlib import import_module

import pytest

progress = import_module("{{ cookiecutter.__package }}.features.progress")


@pytest.fixture
def fit(capsys):
    """A function that does work of two parts, the first of some seconds, and returns the lines that it printed."""

    def work(seconds):
        with progress.watched():
            progress.progress("first")
            time.sleep(seconds)
            progress.progress("second")
        return [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]

    return work


def test_a_fast_fit_says_nothing(fit):
    assert fit(0) == []


def test_a_long_fit_says_what_it_does_and_what_follows(fit, monkeypatch):
    monkeypatch.setattr(progress, "LONG", 0.05)
    assert fit(0.5) == ["first", "second"]


def test_nothing_is_said_where_nobody_watches(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LONG", 0.0)
    progress.progress("a request of the service")
    assert capsys.readouterr().out == ""
