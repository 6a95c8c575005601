"""Offer the recorded answers of an existing project as defaults, and render to its folder."""

import os
import sys
from pathlib import Path

COPY = Path.cwd()  # cookiecutter made this copy of the template for this one run
sys.path.insert(0, str(COPY / "hooks"))

import ladder  # noqa: E402

sys.exit(ladder.run_hook(ladder.pre_prompt, COPY, os.environ.get("PWD")))
