"""Refuse what cannot work before anything is written; merge if the project exists already."""

import json
import sys
from pathlib import Path

CONTEXT = json.loads({{cookiecutter | jsonify | tojson}})  # noqa: F821
COPY = Path(CONTEXT["_repo_dir"])
sys.path.insert(0, str(COPY / "hooks"))

import ladder  # noqa: E402

sys.exit(ladder.ending(COPY, lambda: ladder.begin(COPY, Path.cwd(), CONTEXT)))
