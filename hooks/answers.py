"""The answers to the template's questions: which are valid, and which were recorded."""

from __future__ import annotations

import keyword
import re
import sys
import unicodedata
from typing import Any

from record import STATE

LEVEL = "maturity_level"  # the one question whose answers include those before them
PROBLEM = "problem"
ALSO = "_also"  # the one answer that no question asks for: other problems whose modules come too

# Modules a generated project imports: a package of its own by such a name would hide them.
TAKEN_PACKAGES = {
    *("click", "cookiecutter", "dvc", "fastapi", "filelock", "hypothesis", "httpx", "jinja2", "joblib", "marimo"),
    *("matplotlib", "mlflow", "mlforecast", "notebooks", "numpy", "optuna", "pandas", "pandera", "pip", "pluggy"),
    *("polars", "prefect", "prometheus_client", "psycopg", "pyarrow", "pydantic", "pydantic_settings", "pytest"),
    *("requests", "ruff", "scipy", "setuptools", "sklearn", "skops", "sqlalchemy", "src", "starlette", "tests"),
    *("uv", "uvicorn", "yaml"),
}


def public_answers(context: dict[str, Any]) -> dict[str, Any]:
    """Return the answers a person gave, without private and derived variables."""
    given = {ALSO} if other_problems(context) else set()
    return {key: value for key, value in context.items() if not key.startswith("_") or key in given}


def other_problems(context: dict[str, Any]) -> list[str]:
    """Return the problems whose modules come too, which blanks or commas separate in the answer."""
    return str(context.get(ALSO, "")).replace(",", " ").split()


def order_answers(answers: dict[str, Any], template: dict[str, Any]) -> dict[str, Any]:
    """Return the answers in the order of the template's questions, free text before choices.

    cookiecutter drops all answers of a settings file that come after a choice it no longer offers.
    """
    free = {key: answers[key] for key, default in template.items() if key in answers and not isinstance(default, list)}
    return free | {key: answers[key] for key in template if key in answers}


def invalid_answer(context: dict[str, Any]) -> str | None:
    """Return what is wrong with the first invalid answer, None if all are valid."""
    for key, value in public_answers(context).items():
        if problem := invalid_text(key, str(value)):
            return problem
    known = context.get("_adds", {}).get(PROBLEM, {})
    if unknown := [name for name in other_problems(context) if name not in known]:
        return f"{unknown[0]!r} in {ALSO} is no problem: choose among {', '.join(known)}"
    slug, package = context["project_slug"], context["__package"]
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", slug) or len(slug) > 50:
        return (
            f"project_slug {slug!r} cannot be a folder and a package: use at most 50 small letters, digits, - and _,"
            " a letter first (project_slug=churn-model)"
        )
    if keyword.iskeyword(package) or package in sys.stdlib_module_names or package in TAKEN_PACKAGES:
        return f"the package {package!r} would hide a module of that name: choose another project_slug ({slug}-model)"
    return None


def invalid_text(key: str, value: str) -> str | None:
    """Return why a value cannot be written into the files of a project, None if it can."""
    if not value.strip():
        return f"{key} is empty: give it a value"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value):
        return f"{key} has a line break or a control character in it: keep it to one plain line"
    if any(mark in value for mark in ("'''", "{{", "}}", "{%", "%}", "{#")):
        return f"{key} may not contain ''' or braces such as {{{{ or {{%: TOML and cookiecutter would interpret them"
    return None


def recall(template: dict[str, Any], answers: dict[str, Any]) -> dict[str, Any]:
    """Make recorded answers the defaults of a template, in place.

    Args:
        template: The content of its cookiecutter.json.
        answers: The recorded answers.

    Returns:
        For each question whose recorded choice is no longer offered: that choice and those that are.
    """
    stale = {}
    for key, value in public_answers(answers).items():
        if isinstance(template.get(key), list):
            if value not in template[key]:
                stale[key] = (value, template[key])
            template[key] = [value, *(choice for choice in template[key] if choice != value)]
        elif key in template:
            template[key] = value
    return stale


def stale_answer(stale: dict[str, Any], context: dict[str, Any]) -> str | None:
    """Return which recorded choice is no longer offered and was not answered anew, None if there is none.

    Args:
        stale: What `recall` returned.
        context: The context of cookiecutter, with the answers now given.
    """
    for key, (old, choices) in stale.items():
        if context.get(key) == old:
            instead = " or ".join(f"{key}={choice}" for choice in choices)
            return f"{key}={old} is no longer offered: run again with {instead}, or put one into {STATE} and commit it"
    return None
