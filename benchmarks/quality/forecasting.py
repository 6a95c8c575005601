"""Compare the shipped forecaster with simple methods on the same held-out rows."""

from __future__ import annotations

PROBLEM = "forecasting"


def section(package: str, names: list[str]) -> str:
    """Return the section of the page, in Markdown."""
    return f"not measured yet: {package}"
