"""Record a fresh project and commit it."""

import json
import sys
from pathlib import Path

CONTEXT = json.loads({{cookiecutter | jsonify | tojson}})  # noqa: F821
COPY = Path(CONTEXT["_repo_dir"])
sys.path.insert(0, str(COPY / "hooks"))

import ladder  # noqa: E402

sys.exit(ladder.run_hook(ladder.post_gen, COPY, Path.cwd(), CONTEXT))
