"""Every command on a page is run by a test, every link leads somewhere, every setting has its line."""

from __future__ import annotations

import ast
import re
import subprocess

import pytest
from projects import LEVELS, QUESTIONS, ROOT, TREE, Project, files, generate, recipes_run, template

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
PAGES += [TREE / "README.md", *sorted((TREE / "docs").glob("*.md"))]
RUN_BY = {  # commands that are no recipe of a generated project, without what varies, and who runs them
    "pip install uv": "test_commands (the steps of the workflow), .ci/run",
    "uvx cookiecutter": "test_upgrade*, test_generation, test_docs",
    "uv run just demo": "test_demo, without just",
    "uv run just test": ".ci/run",
    "uv run just bench": "by hand, before a release",
    "uv run python ADDRESS_OF_THIS_REPOSITORY/docs/shop/make.py": "test_relational",
    "uv sync": "test_climb",
    "git reset --hard": "test_upgrade",
}
JUST = "uv run just"
NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight"]


def commands(page: str) -> list[str]:
    """The lines of a page's shell blocks, each command by itself, comments left out."""
    blocks = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [command.strip() for line in lines if line for command in line.split("&&")]


def is_run(command: str) -> bool:
    """Whether a test runs this command: a recipe that one is seen to run, or a command in the table."""
    starts = [start for start in RUN_BY if f"{command} ".startswith(f"{start} ")]
    recipe = command.removeprefix(JUST).split()
    return bool(starts) or (f"{command} ".startswith(f"{JUST} ") and (recipe or [""])[0] in recipes_run())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_on_the_page_is_run_by_a_test(page):
    """In its blocks, and the recipes named in its text."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(rf"`({JUST} [^`]+)`", text)

    assert [command for command in [*commands(text), *named] if not is_run(command)] == []


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


def test_the_readme_counts_right(tmp_path):
    """The files of the lowest level: what is above is named by what it brings."""
    made = files(generate(tmp_path))
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert [int(number) for number in re.findall(r"\| (\d+) files", text)] == [len(made)]


def test_every_released_version_has_its_part_of_the_changelog():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert QUESTIONS["_version"] == "0.0.0" or f"## [{QUESTIONS['_version']}]" in changelog


def test_a_project_page_names_the_commands_there_are(tmp_path):
    project = Project(generate(tmp_path, maturity_level=LEVELS[-1]), tmp_path / "none")
    recipes = "\n".join(path.read_text(encoding="utf-8") for path in project.folder.glob("*just*"))

    for page in (project.folder / "README.md", *(project.folder / "docs").glob("*.md")):
        for name in re.findall(rf"{JUST} (\w+)", page.read_text(encoding="utf-8")):
            assert re.search(rf"^{name}\b", recipes, flags=re.MULTILINE), name


def test_every_setting_has_its_line_in_the_example_of_an_environment():
    """With its default."""
    lines = (TREE / ".env.example").read_text(encoding="utf-8").splitlines()
    wanted = {}
    for path in (TREE / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any("BaseSettings" in ast.unparse(base) for base in node.bases):
                fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
                wanted |= {each.target.id.upper(): ast.literal_eval(each.value) for each in fields}

    assert len(wanted) >= 6
    shown = [f"# {name}={str(each).lower() if isinstance(each, bool) else each}" for name, each in wanted.items()]
    assert [line for line in shown if line not in lines] == []
