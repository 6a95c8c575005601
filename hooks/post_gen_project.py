"""Keep what the answers ask for, record them, commit: a fresh project only."""

import json
import sys
from pathlib import Path

CONTEXT = json.loads({{cookiecutter | jsonify | tojson}})  # noqa: F821
COPY = Path(CONTEXT["_repo_dir"])
sys.path.insert(0, str(COPY / "hooks"))

import ladder  # noqa: E402

sys.exit(ladder.ending(COPY, lambda: ladder.finish(COPY, Path.cwd(), CONTEXT)))
