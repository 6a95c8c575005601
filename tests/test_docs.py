"""Every command on a page is run by a test, and every link leads somewhere."""

from __future__ import annotations

import re
import subprocess

import pytest
from projects import LEVELS, QUESTIONS, ROOT, TREE, Project, files, generate, template

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), TREE / "README.md"]
RUN_BY = {  # the command, without what varies, and the test that runs it
    "pip install uv": "test_commands (the steps of the workflow), .ci/run",
    "uvx cookiecutter": "test_upgrade*, test_generation, test_docs",
    "uv run just": "test_commands",
    "uv run just demo": "test_demo",
    "uv run just test": ".ci/run",
    "uv run just bench": "test_docs",
    "uv run just check": "test_commands",
    "uv run just data": "test_commands",
    "uv run just train": "test_commands",
    "uv run just retrain": "test_commands",
    "uv run just promote": "test_commands",
    "uv run just serve": "test_commands",
    "uv run just preview": "test_climb",
    "uv run just upgrade": "test_climb",
    "uv sync": "test_climb",
    "git reset --hard": "test_upgrade",
}


def commands(page: str) -> list[str]:
    """The lines of a page's shell blocks, each command by itself, comments left out."""
    blocks = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [command.strip() for line in lines if line for command in line.split("&&")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_on_the_page_is_run_by_a_test(page):
    for command in commands(page.read_text(encoding="utf-8")):
        known = [start for start in RUN_BY if command == start or command.startswith(f"{start} ")]
        assert known, command
        assert max(known, key=len) not in {"uv run just"} or command == "uv run just", f"{command} is run by no test"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_the_everyday_command_works_as_written(tmp_path):
    """`uvx cookiecutter ADDRESS`, answered by pressing Enter at every question."""
    [command] = [each for each in commands((ROOT / "README.md").read_text(encoding="utf-8")) if "cookiecutter" in each]
    words = command.replace("ADDRESS_OF_THIS_REPOSITORY", str(template())).split()
    done = subprocess.run(words, cwd=tmp_path, input="\n" * 12, capture_output=True, text=True, encoding="utf-8")

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "my-ml-project" / "data" / "catalog.yaml").exists()


def test_the_levels_page_and_the_readme_count_right(tmp_path):
    counts = [len(files(generate(tmp_path / level, maturity_level=level))) for level in LEVELS]
    shown = re.findall(r"\| (?:\+ )?(\d+) files", (ROOT / "README.md").read_text(encoding="utf-8"))

    assert [int(number) for number in shown] == [counts[0], counts[1] - counts[0], counts[2] - counts[1]]


def test_every_released_version_has_its_part_of_the_changelog():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert QUESTIONS["_version"] == "0.0.0" or f"## [{QUESTIONS['_version']}]" in changelog


def test_a_project_page_names_the_commands_there_are(tmp_path):
    project = Project(generate(tmp_path, maturity_level=LEVELS[-1]), tmp_path / "none")
    recipes = "\n".join(path.read_text(encoding="utf-8") for path in project.folder.glob("*just*"))

    for command in commands((TREE / "README.md").read_text(encoding="utf-8")):
        if command.startswith("uv run just "):
            assert re.search(rf"^{command.split()[3]}\b", recipes, flags=re.MULTILINE), command
