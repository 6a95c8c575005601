"""What an upgrade does to a repository in every state it may be found in, on the real template."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from upgrading import (
    CLEAN,
    CONFLICTS,
    LEVELS,
    LINES,
    REFUSED,
    STATE,
    Lab,
    commit,
    edit_params,
    git,
    line,
    ordinary_edits,
    snapshot,
    write,
)

OK, SETTLE, NO = CLEAN, CONFLICTS, REFUSED


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


def upgraded(lab: Lab, tmp_path: Path, path: str, edit=None, wanted: int = OK, **answers: str):
    """The outcome of D1->M2 and the like, after an edit that was committed; undoing it was proved before."""
    start, *steps = path.split("->")
    project = lab.project(tmp_path, start, **answers)
    if edit:
        edit(project)
        commit(project, "my work")
    for step in steps[:-1]:
        lab.upgrade(project, step).check(OK)
        commit(project, f"climb to {step}")
    outcome = lab.upgrade(project, steps[-1])
    outcome.check(wanted)
    if wanted != NO:
        outcome.undone()
        outcome = lab.upgrade(project, steps[-1])
        outcome.check(wanted)
    return outcome


def text(*numbers: int) -> str:
    """The lines of probe/lines.txt with an edit in each of these."""
    lines = LINES
    for number in numbers:
        lines = line(number, f"my own line {number}", lines)
    return "".join(lines)


# --- levels and versions


@pytest.mark.parametrize("path", ["D1->M1", "D1->P1", "M1->M2", "D1->M2", "D1->P3", "D1->M2->P3"])
def test_an_untouched_project_becomes_what_a_fresh_one_would_be(lab, tmp_path, path):
    outcome = upgraded(lab, tmp_path, path)
    (tmp_path / "fresh").mkdir()
    fresh = snapshot(lab.project(tmp_path / "fresh", path.split("->")[-1]))
    now = snapshot(outcome.project)
    records = [json.loads(files.pop(STATE)[1]) for files in (now, fresh)]
    assert now == fresh
    for record in records:
        del record["abbreviations"], record["template"]["address"]
    assert records[0] == records[1]


@pytest.mark.parametrize("path", ["D1->M1", "D1->P1", "M1->M2", "D1->M2", "D1->P3"])
def test_edits_elsewhere_stay(lab, tmp_path, path):
    def edit(project):
        write(project, {"mine/notes.md": "mine\n", "probe/lines.txt": text(3), "src/churn/mine.py": "MINE = 1\n"})

    outcome = upgraded(lab, tmp_path, path, edit)
    assert "my own line 3" in outcome["probe/lines.txt"]
    assert outcome["mine/notes.md"] == "mine\n"
    if "2" in path:
        assert "second version" in outcome["probe/lines.txt"]


@pytest.mark.parametrize("at", ["D1", "M1", "P2"])
def test_the_same_level_and_version_again_changes_nothing(lab, tmp_path, at):
    project = lab.project(tmp_path, at)
    lab.upgrade(project, at).check(OK)  # the template may have another address here
    commit(project)
    head = git(project, "rev-parse", "HEAD^{tree}")
    outcome = lab.upgrade(project, at)
    outcome.check(OK)
    assert "nothing to do" in outcome.output
    assert not git(project, "status", "--porcelain")
    assert git(project, "write-tree") == head


def test_a_file_of_the_level_being_left_keeps_its_edit_in_a_conflict(lab, tmp_path):
    def edit(project):
        write(project, {"probe/model.txt": "all mine\n"})

    outcome = upgraded(lab, tmp_path, "M1->D1", edit, SETTLE)
    assert outcome.unmerged == {"probe/model.txt"}
    assert outcome["probe/model.txt"] == "all mine\n"
    assert "you changed it, the template deleted it" in outcome.output


def test_up_edit_down_and_up_again(lab, tmp_path):
    project = lab.project(tmp_path, "D1")
    lab.upgrade(project, "M1").check(OK)
    write(project, {"probe/lines.txt": text(7)})
    commit(project)
    for step in ("D1", "P1", "D2", "P3"):
        lab.upgrade(project, step).check(OK)
        commit(project)
    assert "my own line 7" in (project / "probe/lines.txt").read_text()


def test_an_older_version(lab, tmp_path):
    outcome = upgraded(lab, tmp_path, "M2->M1", lambda project: write(project, {"mine.txt": "mine\n"}))
    assert outcome["probe/lines.txt"] == "".join(LINES)
    assert outcome["mine.txt"] == "mine\n"


@pytest.mark.parametrize("answers", [{}, {"ci": "gitlab"}], ids=["github", "gitlab"])
def test_the_eight_ordinary_edits_climb_without_a_conflict(lab, tmp_path, answers):
    project = lab.project(tmp_path, "D1", **answers)
    ours = ordinary_edits(project, "churn")
    commit(project, "our first weeks")
    for step in ("M1", "P1", "P3"):
        outcome = lab.upgrade(project, step)
        outcome.check(OK)
        outcome.undone()
        lab.upgrade(project, step)
        commit(project, f"climb to {step}")
        if step == "M1":
            ours |= edit_params(project)
            commit(project, "our parameters")
        assert all(line in (project / path).read_text("utf-8") for path, line in ours.items())
    assert (project / "src/churn/retraining/gate.py").exists()


# --- edits of one file


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(text(20), SETTLE), (text(19), SETTLE), (text(2, 39), OK), ("".join(LINES).upper(), SETTLE)],
    ids=["same line", "adjacent line", "different hunks", "reformatted"],
)
def test_edits_near_the_template_s(lab, tmp_path, content, wanted):
    outcome = upgraded(lab, tmp_path, "M1->M2", lambda project: write(project, {"probe/lines.txt": content}), wanted)
    mine = [text for text in content.splitlines() if text not in "".join(LINES)]
    assert all(text in outcome["probe/lines.txt"] for text in mine)
    assert "second version" in outcome["probe/lines.txt"]
    if wanted == SETTLE:
        assert "<<<<<<< yours" in outcome["probe/lines.txt"]
        assert ">>>>>>> mlops-ladder 0.2.0" in outcome["probe/lines.txt"]
        assert "git add probe/lines.txt" in outcome.output


@pytest.mark.parametrize(
    ("path", "wanted"),
    [("probe/tool_not_there.py", OK), ("probe/name.txt", OK), ("probe/lines.txt", SETTLE), ("probe/gone.txt", OK)],
    ids=["own", "left alone", "changed", "both deleted"],
)
def test_a_file_the_user_deleted(lab, tmp_path, path, wanted):
    outcome = upgraded(lab, tmp_path, "M1->M2", lambda project: (project / path).unlink(missing_ok=True), wanted)
    if wanted == SETTLE:
        assert "you deleted it, the template changed it" in outcome.output
        assert f"git rm {path}" in outcome.output
    else:
        assert not (outcome.project / path).exists()


def test_a_file_the_template_deleted(lab, tmp_path):
    assert not (upgraded(lab, tmp_path, "M1->M2").project / "probe/gone.txt").exists()
    (tmp_path / "other").mkdir()
    edited = upgraded(lab, tmp_path / "other", "M1->M2", lambda p: write(p, {"probe/gone.txt": "my\n" * 9}), SETTLE)
    assert edited.unmerged == {"probe/gone.txt"}
    assert edited["probe/gone.txt"] == "my\n" * 9


def test_a_file_the_user_renamed_gets_the_template_s_change(lab, tmp_path):
    outcome = upgraded(lab, tmp_path, "M1->M2", lambda p: (p / "probe/lines.txt").rename(p / "mine.txt"))
    assert "second version" in outcome["mine.txt"]
    assert not (outcome.project / "probe/lines.txt").exists()


def test_a_package_the_user_moved_gets_the_template_s_changes_and_new_modules(lab, tmp_path):
    def move(project):
        git(project, "mv", "src/churn", "src/core")

    outcome = upgraded(lab, tmp_path, "D1->M2", move)
    assert "TWO_3 = 6" in outcome["src/core/probe_two.py"]
    assert (outcome.project / "src/core/probe_three.py").exists()
    assert not (outcome.project / "src/churn").exists()


def test_a_file_the_template_renamed_takes_the_user_s_edit_along(lab, tmp_path):
    moved = [f"moved {text}" for text in LINES[:20]]
    outcome = upgraded(
        lab, tmp_path, "M1->M2", lambda p: write(p, {"probe/moved.txt": "".join(line(4, "my own line", moved))})
    )
    assert "my own line" in outcome["probe/elsewhere.txt"]
    assert not (outcome.project / "probe/moved.txt").exists()


def test_both_renamed_one_file(lab, tmp_path):
    outcome = upgraded(lab, tmp_path, "M1->M2", lambda p: (p / "probe/moved.txt").rename(p / "probe/mine.txt"), SETTLE)
    assert "probe/mine.txt" in outcome.output
    assert "probe/elsewhere.txt" in outcome.output


@pytest.mark.parametrize("who", ["template", "user", "both"])
def test_a_binary_file(lab, tmp_path, who):
    mine = bytes(range(0, 256, 2)) * 9
    path = "M2->M3" if who == "user" else "M1->M2"
    edit = (lambda p: write(p, {"probe/image.bin": mine})) if who != "template" else None
    outcome = upgraded(lab, tmp_path, path, edit, SETTLE if who == "both" else OK)
    content = (outcome.project / "probe/image.bin").read_bytes()
    assert content == (bytes(range(255, -1, -1)) * 8 if who == "template" else mine)
    if who == "both":
        assert "not text" in outcome.output


def test_a_file_the_user_wrote_and_the_next_level_brings(lab, tmp_path):
    outcome = upgraded(lab, tmp_path, "D1->M1", lambda p: write(p, {"probe/model.txt": "mine\n"}), SETTLE)
    assert outcome.unmerged == {"probe/model.txt"}
    assert "mine\n" in outcome["probe/model.txt"]
    assert "both you and the template have one" in outcome.output


def test_a_file_where_the_template_needs_a_folder(lab, tmp_path):
    def edit(project):
        shutil.rmtree(project / "probe/store")
        write(project, {"probe/store": "mine\n"})

    outcome = upgraded(lab, tmp_path, "M1->M2", edit, SETTLE)
    assert "CONFLICT probe/store~yours: " in outcome.output
    assert "git add probe/store~yours" in outcome.output
    assert "probe/store~yours" in outcome.unmerged
    assert outcome["probe/store~yours"] == "mine\n"


def test_a_file_moved_aside_replaces_no_other(lab, tmp_path):
    def edit(project):
        shutil.rmtree(project / "probe/store")
        write(project, {"probe/store": "mine\n", "probe/store~yours": "mine, too\n"})

    outcome = upgraded(lab, tmp_path, "M1->M2", edit, SETTLE)
    assert outcome["probe/store~yours"] == "mine, too\n"
    assert "probe/store~yours1" in outcome.output
    assert [outcome[path] for path in outcome.unmerged if "~" in path] == ["mine\n"]


# --- files git does not look at


IGNORED = {".env": "TOKEN=1\n", "data/raw/rows.parquet": b"\0rows", "checkpoints/model.bin": b"\0" * 99}


def ignoring(*patterns: str):
    """An edit: these patterns are ignored, too, and there are ignored files."""

    def edit(project: Path) -> None:
        with (project / ".gitignore").open("a") as file:
            file.write("\n".join(["", "/checkpoints/", *patterns, ""]))
        write(project, IGNORED)

    return edit


def test_ignored_files_not_in_the_way_stay(lab, tmp_path):
    outcome = upgraded(lab, tmp_path, "D1->P2", ignoring())
    for path, content in IGNORED.items():
        assert (outcome.project / path).read_bytes() == (content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize("exclude", [".gitignore", ".git/info/exclude"])
@pytest.mark.parametrize("path", ["probe/new.txt", "probe/new.txt/inside"], ids=["file", "folder"])
def test_an_ignored_file_in_the_way_is_refused(lab, tmp_path, exclude, path):
    project = lab.project(tmp_path, "D1")
    with (project / exclude).open("a") as file:
        file.write("\nprobe/new.txt\n")
    commit(project)
    write(project, {path: "precious\n"})
    outcome = lab.upgrade(project, "P2")
    outcome.check(NO)
    assert "probe/new.txt" in outcome.error


def test_an_ignored_file_where_a_folder_is_needed_is_refused(lab, tmp_path):
    project = lab.project(tmp_path, "D1")
    (project / ".git/info/exclude").write_text("src/churn/models\n")
    write(project, {"src/churn/models": "precious\n"})
    outcome = lab.upgrade(project, "M1")
    outcome.check(NO)
    assert "needs a folder" in outcome.error


def test_an_ignored_file_where_a_moved_package_takes_a_new_module_is_refused(lab, tmp_path):
    project = lab.project(tmp_path, "D1")
    git(project, "mv", "src/churn", "src/core")
    (project / ".git/info/exclude").write_text("src/core/probe_three.py\n")
    commit(project)
    write(project, {"src/core/probe_three.py": "precious\n"})
    outcome = lab.upgrade(project, "D2")
    outcome.check(NO)
    assert "src/core/probe_three.py" in outcome.error


def test_an_ignored_repository_in_the_way_is_refused(lab, tmp_path):
    project = lab.project(tmp_path, "D1")
    (project / ".git/info/exclude").write_text("probe/new.txt\n")
    git(project, "init", "-q", "probe/new.txt")
    outcome = lab.upgrade(project, "D2")
    outcome.check(NO)
    assert "probe/new.txt is there already" in outcome.error
    assert (project / "probe/new.txt/.git/HEAD").exists()


@pytest.mark.parametrize(("place", "wanted"), [("probe/store", NO), ("notebooks", OK), ("vendor/sub", OK)])
def test_a_submodule(lab, tmp_path, place, wanted):
    """In place of files that the template changes it refuses, of others it is as if they were deleted."""
    project = lab.project(tmp_path, "D1")
    write(tmp_path / "sub", {"theirs.txt": "theirs\n"})
    git(tmp_path / "sub", "init", "-q")
    commit(tmp_path / "sub")
    git(project, "rm", "-q", "-r", "--ignore-unmatch", place)
    git(project, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "sub"), place)
    commit(project)
    outcome = lab.upgrade(project, "D2")
    outcome.check(wanted)
    assert (project / place / "theirs.txt").exists()
    if wanted == NO:
        assert "probe/store is a submodule, and the template brings probe/store/about.txt" in outcome.error


# --- states of the tree that are refused


def dirty(project):
    write(project, {"probe/lines.txt": "not committed\n"})


def staged(project):
    dirty(project)
    git(project, "add", "-A")


def untracked(project):
    write(project, {"new.txt": "new\n"})


def untracked_and_hidden(project):
    untracked(project)
    git(project, "config", "status.showUntrackedFiles", "no")


def assumed_unchanged(project):
    git(project, "update-index", "--assume-unchanged", "probe/lines.txt")
    dirty(project)


def skipped(project):
    git(project, "update-index", "--skip-worktree", "probe/lines.txt")
    dirty(project)


def in_a_merge(project):
    git(project, "switch", "-q", "-c", "side")
    write(project, {"probe/name.txt": "side\n"})
    commit(project)
    git(project, "switch", "-q", "-")
    git(project, "merge", "-q", "--no-ff", "--no-commit", "side")


def in_a_bisect(project):
    git(project, "bisect", "start")


def locked(project):
    (project / ".git/index.lock").touch()


def without_git(project):
    shutil.rmtree(project / ".git")


def unborn(project):
    without_git(project)
    git(project, "init", "-q")


def sparse(project):
    git(project, "sparse-checkout", "set", "--cone", "src")


def with_markers(project):
    content = (project / STATE).read_text()
    write(project, {STATE: f"<<<<<<< ours\n{content}=======\n{content}>>>>>>> theirs\n"})
    commit(project)


def recorded(project, **template):
    """The project's record says this of the template it was made from."""
    state = json.loads((project / STATE).read_text())
    state["template"] |= template
    write(project, {STATE: json.dumps(state)})
    commit(project)


def with_a_list_in_the_state(project):
    state = json.loads((project / STATE).read_text()) | {"abbreviations": []}
    write(project, {STATE: json.dumps(state)})
    commit(project)


def with_another_record(project):
    answers = json.loads((project / STATE).read_text())["template"]["answers"]
    recorded(project, answers=answers | {"maturity_level": LEVELS["P"]})


def with_another_digest(project):
    recorded(project, digest="0" * 64)


def with_no_answers(project):
    state = json.loads((project / STATE).read_text())
    state["template"] = {"commit": state["template"]["commit"]}
    write(project, {STATE: json.dumps(state)})
    commit(project)


def with_an_unknown_commit(project):
    recorded(project, commit="1" * 40)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (dirty, "not committed (probe/lines.txt)"),
        (staged, "not committed (probe/lines.txt)"),
        (untracked, "not committed (new.txt)"),
        (untracked_and_hidden, "not committed (new.txt)"),
        (assumed_unchanged, "--no-assume-unchanged"),
        (skipped, "--no-skip-worktree"),
        (sparse, "git sparse-checkout disable"),
        (in_a_merge, "a merge is in progress"),
        (in_a_bisect, "a bisect is in progress"),
        (locked, "index.lock"),
        (without_git, "not in a git repository"),
        (unborn, "no commit yet"),
        (with_markers, "conflict markers?"),
        (with_a_list_in_the_state, "cannot be read"),
        (with_another_record, "changed by hand"),
        (with_another_digest, "changed by hand"),
        (with_no_answers, "changed by hand"),
        (with_an_unknown_commit, "has no commit 111111111111"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_refused(lab, tmp_path, spoil, says):
    project = lab.project(tmp_path, "D1")
    spoil(project)
    status = git(project, "status", "--porcelain") if (project / ".git").exists() else ""
    outcome = lab.upgrade(project, "M2")
    outcome.check(NO)
    assert says in outcome.error
    assert status == (git(project, "status", "--porcelain") if (project / ".git").exists() else "")


def test_a_link_to_another_disk_is_refused(lab, tmp_path):
    project = lab.project(tmp_path, "D1")
    (project / "probe/store").rename(tmp_path / "disk")
    (project / "probe/store").symlink_to(tmp_path / "disk")
    (project / ".git/info/exclude").write_text("probe/store\n")
    git(project, "rm", "-q", "-r", "--cached", "probe/store")
    commit(project)
    outcome = lab.upgrade(project, "D2")
    outcome.check(NO)
    assert "probe/store" in outcome.error
    assert "store two" not in (tmp_path / "disk/about.txt").read_text()


def test_a_tracked_link_to_another_disk_is_not_followed(lab, tmp_path):
    project = lab.project(tmp_path, "D1")
    (project / "probe/store").rename(tmp_path / "disk")
    (project / "probe/store").symlink_to(tmp_path / "disk")
    commit(project)
    outcome = lab.upgrade(project, "D2")
    assert outcome.status in (NO, SETTLE)
    outcome.check(outcome.status)
    outcome.undone()
    assert "store two" not in (tmp_path / "disk/about.txt").read_text()


# --- kinds of repository


def test_detached(lab, tmp_path):
    upgraded(lab, tmp_path, "M1->M2", lambda p: git(p, "checkout", "-q", "--detach"))


def test_shallow(lab, tmp_path):
    project = lab.project(tmp_path, "M1")
    commit(project)
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{project}", "shallow")
    outcome = lab.upgrade(tmp_path / "shallow", "M2")
    outcome.check(OK)
    outcome.undone()


def test_after_a_squash(lab, tmp_path):
    project = lab.project(tmp_path, "D1")
    git(project, "switch", "-q", "-c", "climb")
    lab.upgrade(project, "M1").check(OK)
    commit(project)
    git(project, "switch", "-q", "main")
    git(project, "merge", "-q", "--squash", "climb")
    commit(project)
    git(project, "branch", "-q", "-D", "climb")
    git(project, "-c", "gc.pruneExpire=now", "gc", "-q", "--prune=now")
    lab.upgrade(project, "M2").check(OK)


def test_worktree(lab, tmp_path):
    project = lab.project(tmp_path, "M1")
    git(project, "worktree", "add", "-q", "-b", "side", str(tmp_path / "tree"))
    outcome = lab.upgrade(tmp_path / "tree", "M2")
    outcome.check(OK)
    outcome.undone()
    assert not git(project, "status", "--porcelain")


def test_two_projects_of_one_monorepo(lab, tmp_path):
    git(tmp_path, "init", "-q", "repo", "-b", "main")
    repo = tmp_path / "repo"
    for name in ("one", "two"):
        write(repo / "packages" / name, {"about.md": name})
        shutil.copytree(lab.project(tmp_path, "D1"), repo / "packages" / name / "churn", ignore=lambda *_: [".git"])
        shutil.rmtree(tmp_path / "churn")
    commit(repo)
    (repo / "packages/one/churn/probe/lines.txt").unlink()  # its twin in the other project is not a rename of it
    commit(repo)
    before = snapshot(repo)
    outcome = lab.upgrade(repo / "packages/one/churn", "M2")
    outcome.check(SETTLE)
    assert outcome.unmerged == {"probe/lines.txt"}
    assert (repo / "packages/one/churn/probe/model.txt").exists()
    now = snapshot(repo)
    assert {path: now[path] for path in now if "/two/" in path} == {p: before[p] for p in before if "/two/" in p}
    outcome.undone()
    assert snapshot(repo) == before


def test_an_outer_repository_that_ignores_the_project_is_refused(lab, tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, {".gitignore": "/churn\n"})
    commit(tmp_path)
    project = lab.project(tmp_path, "D1")
    shutil.rmtree(project / ".git")
    outcome = lab.upgrade(project, "M2")
    outcome.check(NO)
    assert "ignores this folder" in outcome.error


def test_the_folder_was_renamed(lab, tmp_path):
    project = lab.project(tmp_path, "M1").rename(tmp_path / "Another Name é")
    outcome = lab.upgrade(project, "M2")
    outcome.check(OK)
    assert outcome["probe/new.txt"]
    outcome.undone()
    outcome = lab.upgrade(project, "M2", "-o", "..")
    outcome.check(OK)


# --- settings of git and of the shell


def no_name(project):
    return {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "EMAIL": ""}


def signing(project):
    git(project, "config", "commit.gpgSign", "true")
    git(project, "config", "gpg.program", "false")


def refusing_hooks(project):
    for name in ("pre-commit", "commit-msg", "post-checkout", "post-index-change", "reference-transaction"):
        write(project, {f".git/hooks/{name}": "#!/bin/sh\ntouch hook-was-here; exit 1\n"})
        (project / f".git/hooks/{name}").chmod(0o755)


def odd_settings(project):
    for setting in (
        "diff.noprefix=true",
        "diff.external=false",
        "diff.renames=false",
        "merge.renames=false",
        "merge.conflictStyle=diff3",
        "diff.mnemonicPrefix=true",
        "color.ui=always",
        "core.quotePath=true",
        "status.short=true",
        "core.safecrlf=true",
        "core.fileMode=false",
        "submodule.recurse=true",
        "core.splitIndex=true",
        "index.version=4",
        "feature.manyFiles=true",
        "core.abbrev=4",
        "core.bigFileThreshold=10",
        "add.ignoreErrors=true",
    ):
        git(project, "config", *setting.split("="))


def odd_environment(project):
    return {
        "GIT_DIR": "/nowhere",
        "GIT_WORK_TREE": "/nowhere",
        "GIT_INDEX_FILE": "/nowhere",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_EXTERNAL_DIFF": "false",
        "LC_ALL": "de_DE.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.mark.parametrize("setting", [no_name, signing, refusing_hooks, odd_settings, odd_environment])
def test_settings(lab, tmp_path, setting):
    project = lab.project(tmp_path, "D1")
    write(project, {"probe/lines.txt": text(3), "probe/store/about.txt": "mine\n", "a line\nbreak.txt": "mine\n"})
    commit(project)
    outcome = lab.upgrade(project, "M2", **(setting(project) or {}))
    outcome.check(SETTLE)
    assert outcome.unmerged == {"probe/store/about.txt"}
    markers = [
        line for line in outcome["probe/store/about.txt"].splitlines() if line[:7] in ("<" * 7, "|" * 7, ">" * 7)
    ]
    assert markers[0] == "<<<<<<< yours"
    assert markers[-1] == ">>>>>>> mlops-ladder 0.2.0"
    assert markers[1:-1] in ([], ["||||||| before"])
    assert "my own line 3" in outcome["probe/lines.txt"]
    assert "second version" in outcome["probe/lines.txt"]


@pytest.mark.parametrize("how", ["core.autocrlf", "* text=auto eol=crlf", "*.txt text eol=crlf"])
def test_windows_line_endings(lab, tmp_path, how):
    project = lab.project(tmp_path, "D1")
    if how == "core.autocrlf":
        git(project, "config", "core.autocrlf", "true")
    else:
        write(project, {".gitattributes": how + "\n"})
        commit(project)
    git(project, "rm", "-q", "-r", "--cached", ".")
    git(project, "reset", "-q", "--hard")
    assert b"\r\n" in (project / "probe/lines.txt").read_bytes()
    write(project, {"probe/lines.txt": text(3).replace("\n", "\r\n")})
    commit(project)
    assert len(git(project, "show", "--stat", "--format=").splitlines()) == 2
    outcome = lab.upgrade(project, "M2")
    outcome.check(OK)
    content = (project / "probe/lines.txt").read_bytes()
    assert b"my own line 3\r\n" in content
    assert b"second version\r\n" in content
    assert b"\r\n" in (project / "probe/new.txt").read_bytes()
    outcome.undone()


def attributes_at_the_top(project):
    return project / ".gitattributes"


def attributes_in_a_folder(project):
    return project / "probe/.gitattributes"


def attributes_of_the_clone(project):
    return project / ".git/info/attributes"


def attributes_of_the_user(project):
    git(project, "config", "core.attributesFile", str(project.parent / "attributes"))
    return project.parent / "attributes"


@pytest.mark.parametrize(
    "place", [attributes_at_the_top, attributes_in_a_folder, attributes_of_the_clone, attributes_of_the_user]
)
def test_a_filter_of_the_user_s_own_is_applied(lab, tmp_path, place):
    project = lab.project(tmp_path, "D1")
    git(project, "config", "filter.turn.clean", "tr a-z A-Z")
    git(project, "config", "filter.turn.smudge", "tr A-Z a-z")
    place(project).write_bytes("# caf\xe9\nlines.txt filter=turn\n".encode("latin-1"))
    git(project, "add", "--renormalize", ".")
    commit(project)
    assert "LINE 3" in git(project, "show", "HEAD:probe/lines.txt")
    lab.upgrade(project, "D2").check(OK)
    assert "SECOND VERSION" in git(project, "show", ":probe/lines.txt")
    assert "second version" in (project / "probe/lines.txt").read_text()


def test_a_filter_that_fails_is_refused_with_the_file(lab, tmp_path):
    project = lab.project(tmp_path, "D1")
    for setting in ("clean=cat", "smudge=false", "required=true"):
        git(project, "config", *f"filter.turn.{setting}".split("="))
    write(project, {".git/info/attributes": "lines.txt filter=turn\n"})
    outcome = lab.upgrade(project, "D2")
    outcome.check(NO)
    assert "probe/lines.txt" in outcome.error
    assert not git(project, "status", "--porcelain")


# --- modes and links


def test_an_executable_bit_of_the_template_s(lab, tmp_path):
    outcome = upgraded(lab, tmp_path, "D1->D2")
    assert os.access(outcome.project / "probe/tool.py", os.X_OK)


def test_an_executable_bit_of_the_user_s(lab, tmp_path):
    outcome = upgraded(lab, tmp_path, "D1->D2", lambda p: (p / "probe/lines.txt").chmod(0o755))
    assert os.access(outcome.project / "probe/lines.txt", os.X_OK)
    assert "second version" in outcome["probe/lines.txt"]


def test_a_file_the_user_replaced_by_a_link(lab, tmp_path):
    def edit(project):
        (project / "probe/lines.txt").unlink()
        (project / "probe/lines.txt").symlink_to("name.txt")

    outcome = upgraded(lab, tmp_path, "D1->D2", edit, SETTLE)
    assert "probe/lines.txt" in outcome.output


# --- repositories that were not generated, and empty ones


def adopt(lab: Lab, project: Path, to: str = "M2"):
    return lab.upgrade(project, to, "_here=yes", "project_slug=churn")


def test_a_repository_that_was_never_generated(lab, tmp_path):
    project = tmp_path / "Old Work"
    write(project, {"README.md": "# Old\n", "probe/lines.txt": "mine\n", "notebook.ipynb": "{}\n"})
    git(project, "init", "-q", "-b", "main")
    commit(project)
    outcome = adopt(lab, project)
    outcome.check(SETTLE)
    assert outcome.unmerged == {"README.md", "probe/lines.txt"}
    assert "# Old" in outcome["README.md"]
    assert "mine" in outcome["probe/lines.txt"]
    outcome.undone()
    adopt(lab, project)
    commit(project, "settled somehow")
    lab.upgrade(project, "M3").check(OK)


def test_a_repository_with_only_readme_and_license(lab, tmp_path):
    project = tmp_path / "new-work"
    write(project, {"README.md": "# new-work\n", "LICENSE": "mine\n"})
    git(project, "init", "-q", "-b", "main")
    commit(project)
    outcome = adopt(lab, project)
    outcome.check(SETTLE)
    assert outcome.unmerged == {"README.md"}
    assert outcome["LICENSE"] == "mine\n"


@pytest.mark.parametrize("inside", [True, False])
def test_an_empty_clone_becomes_a_fresh_project(lab, tmp_path, inside):
    git(tmp_path, "init", "-q", "-b", "trunk", "empty")
    project = tmp_path / "empty"
    where, given = (project, ("_here=yes", "project_slug=churn")) if inside else (tmp_path, ("project_slug=empty",))
    done = lab.cookiecutter(where, lab.template(2), "-f", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert git(project, "log", "--format=%s", "trunk").startswith("Start from mlops-ladder 0.2.0")
    assert not git(project, "status", "--porcelain", "--ignored")
    lab.upgrade(project, "M3").check(OK)


def test_the_state_file_was_deleted(lab, tmp_path):
    project = lab.project(tmp_path, "D1")
    git(project, "rm", "-q", STATE)
    commit(project)
    outcome = lab.upgrade(project, "D1", "-o", "..", "project_slug=churn")
    outcome.check(OK)
    assert git(project, "diff", "--staged", "--name-only") == STATE
    commit(project)
    lab.upgrade(project, "M2").check(OK)


# --- answers and records


def test_answers_with_quotes_backslashes_and_non_ascii(lab, tmp_path):
    answers = {"project_name": 'Ünï "quoted" \\ back\'s 🚲', "description": "what's \\n \"it\" # & <b> for: {x}, 'y'"}
    outcome = upgraded(lab, tmp_path, "M1->M2", lambda p: write(p, {"with space/é.txt": "é\n"}), **answers)
    assert outcome["probe/name.txt"].startswith(f"{answers['project_name']} | {answers['description']}\n")
    assert "spaced two" in outcome["probe/with space.txt"]
    assert outcome["with space/é.txt"] == "é\n"


def test_an_answer_no_longer_offered_is_refused_with_the_fix(lab, tmp_path):
    project = lab.project(tmp_path, "M1", ci="none")
    outcome = lab.upgrade(project, "M3")
    outcome.check(NO)
    assert "ci=none is no longer offered" in outcome.error
    assert "ci=github or ci=gitlab" in outcome.error
    outcome = lab.upgrade(project, "M3", "ci=gitlab")
    outcome.check(OK)
    outcome.undone()
    state = json.loads((project / STATE).read_text())
    state["default_context"]["ci"] = "github"
    write(project, {STATE: json.dumps(state, indent=2)})
    commit(project)
    lab.upgrade(project, "M3").check(OK)


def test_the_template_moved_to_another_address(lab, tmp_path):
    project = lab.project(tmp_path, "M1")
    moved = tmp_path / "moved"
    git(tmp_path, "clone", "-q", f"file://{lab.template(3)}", str(moved))
    git(moved, "checkout", "-q", "v2")
    before = snapshot(project)
    done = lab.cookiecutter(project, moved, "-f")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((project / STATE).read_text())["abbreviations"]["ladder"] == str(moved)
    git(project, "reset", "-q", "--hard")
    assert snapshot(project) == before


def test_a_template_without_the_old_commit_is_refused(lab, tmp_path):
    project = lab.project(tmp_path, "M1")
    git(tmp_path, "clone", "-q", "--depth=1", "-b", "v3", f"file://{lab.folder / 'origin'}", "short")
    before = snapshot(project)
    done = lab.cookiecutter(project, tmp_path / "short", "-f")
    assert done.returncode == NO
    assert "whole history" in done.stderr
    assert snapshot(project) == before


def test_two_branches_upgraded_differently_then_merged(lab, tmp_path):
    project = lab.project(tmp_path, "D1")
    git(project, "switch", "-q", "-c", "versions")
    lab.upgrade(project, "D2").check(OK)
    commit(project)
    git(project, "switch", "-q", "main")
    lab.upgrade(project, "M1").check(OK)
    write(project, {"mine.txt": "mine\n"})
    commit(project)
    subprocess.run(["git", "merge", "-q", "versions"], cwd=project, capture_output=True)
    assert git(project, "ls-files", "-u").count(STATE) == 3
    refused = lab.upgrade(project, "M3")
    assert "take the side with the higher level" in refused.error
    git(project, "checkout", "--ours", STATE)  # as that says
    commit(project)
    outcome = lab.upgrade(project, "M3")
    outcome.check(OK)
    assert outcome["mine.txt"] == "mine\n"
    assert "third version" in outcome["probe/lines.txt"]
    outcome.undone()


# --- how it is started


def recipe(lab: Lab, project: Path, version: int, *arguments: str):
    """What `just upgrade` runs, when the recorded template stands at that version."""
    return lab.cookiecutter(project, "ladder", "--config-file", STATE, "-f", *arguments)


def test_the_recorded_address_is_enough(lab, tmp_path):
    template = tmp_path / "template"
    git(tmp_path, "clone", "-q", str(lab.template(1)), str(template))
    git(template, "checkout", "-q", "v1")
    done = lab.cookiecutter(tmp_path, "template", "project_slug=churn", "maturity_level=model-centric")
    assert done.returncode == 0, done.stderr
    project = tmp_path / "churn"
    git(template, "checkout", "-q", "v3")
    done = recipe(lab, project, 3, "maturity_level=pipeline-centric")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0.3.0, pipeline-centric (was 0.1.0, model-centric)" in done.stdout
    state = json.loads((project / STATE).read_text())
    assert state["template"]["address"] == state["abbreviations"]["ladder"] == str(template)


def test_an_address_that_is_cloned_is_recorded_as_such(lab, tmp_path):
    git(tmp_path, "clone", "-q", str(lab.template(2)), "template.git")
    url = f"file://{tmp_path / 'template.git'}"
    settings = {"cookiecutters_dir": str(tmp_path / "clones"), "replay_dir": str(tmp_path / "replay")}
    write(tmp_path, {"settings.json": json.dumps(settings)})
    done = lab.cookiecutter(
        tmp_path, url, "-c", "v1", "--config-file", str(tmp_path / "settings.json"), "project_slug=churn"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    state = json.loads((tmp_path / "churn" / STATE).read_text())
    assert state["abbreviations"]["ladder"] == url
    assert state["template"]["version"] == "0.1.0"


def test_questions_are_asked_again_with_the_recorded_answers(lab, tmp_path):
    project = lab.project(tmp_path, "M1", project_name="My own name", ci="gitlab")
    command = [sys.executable, "-m", "cookiecutter", str(lab.template(2)), "-f"]
    done = subprocess.run(
        command, cwd=project, input="\n" * 9, capture_output=True, text=True, env=os.environ | {"PWD": str(project)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(My own name)" in done.stdout
    state = json.loads((project / STATE).read_text())
    assert state["template"]["answers"]["maturity_level"] == "model-centric"
    assert state["template"]["answers"]["ci"] == "gitlab"


def test_the_state_file_is_readable_as_cookiecutter_s_own_settings(lab, tmp_path):
    from cookiecutter.config import get_user_config

    project = lab.project(tmp_path, "M1", project_name='Ünï "quoted" \\ 🚲')
    settings = get_user_config(str(project / STATE))
    assert settings["default_context"] == json.loads((project / STATE).read_text("utf-8"))["default_context"]
    assert list(settings["default_context"])[:3] == ["project_name", "project_slug", "description"]


def whole(project: Path) -> dict[Path, tuple]:
    """Every file, git's own included; git may only have noted when it last met an object."""
    found = {}
    for path in project.rglob("*"):
        status = path.stat()
        met = path.parts[-3] == "objects" and path.is_file()
        found[path] = (status.st_mode, None if met else status.st_mtime_ns, path.is_file() and path.read_bytes())
    return found


def test_a_preview_says_what_would_happen_and_changes_nothing_at_all(lab, tmp_path):
    project = lab.project(tmp_path, "D1")
    write(project, {"probe/lines.txt": text(20)})
    commit(project)
    everything = whole(project)
    outcome = lab.upgrade(project, "M2", "_preview=yes")
    assert outcome.status == 0, outcome.said
    for expected in ("added    probe/model.txt", "changed  pyproject.toml", "removed  probe/gone.txt"):
        assert expected in outcome.output
    assert "CONFLICT probe/lines.txt: both you and the template changed it" in outcome.output
    assert whole(project) == everything
    dirty(project)
    outcome = lab.upgrade(project, "M2", "_preview=yes")
    assert outcome.status == 0
    assert "would be refused: there are changes" in outcome.output


def test_outside_a_project_nothing_is_upgraded(lab, tmp_path):
    project = lab.project(tmp_path, "D1")
    before = snapshot(tmp_path)
    template = lab.template(2)
    for cwd, arguments, says in [
        (tmp_path, ("-f", "project_slug=churn"), "is a project already"),
        (project / "src", ("-f",), "lies in the project"),
        (project, ("-f", "-o", str(tmp_path / "elsewhere")), "-o points to"),
        (tmp_path, ("_preview=yes", "project_slug=other"), "no project here"),
    ]:
        done = lab.cookiecutter(cwd, template, *arguments)
        assert done.returncode == NO, done.stdout + done.stderr
        assert says in done.stderr
        assert "Traceback" not in done.stderr
        assert snapshot(tmp_path) == before
    done = lab.cookiecutter(project, template, "-f", PWD=str(tmp_path))  # a shell that does not say where it is
    assert done.returncode == NO
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("kind", ["folder", "changed"])
def test_a_template_that_is_no_commit_generates_but_does_not_merge(lab, tmp_path, kind):
    template = tmp_path / "template"
    git(tmp_path, "clone", "-q", str(lab.template(2)), str(template))
    if kind == "folder":
        shutil.rmtree(template / ".git")
    else:
        with (template / "cookiecutter.json").open("a") as file:
            file.write("\n")
    done = lab.cookiecutter(tmp_path, template, "project_slug=fresh")
    assert done.returncode == 0, done.stdout + done.stderr
    state = json.loads((tmp_path / "fresh" / STATE).read_text())
    assert state["template"]["commit"] is None
    why = "not a git repository" if kind == "folder" else "uncommitted changes"
    assert why in state["template"]["why"]
    outcome = lab.upgrade(tmp_path / "fresh", "M3")
    outcome.check(NO)
    assert why in outcome.error
    project = lab.project(tmp_path, "D1")
    before = snapshot(project)
    done = lab.cookiecutter(project, template, "-f")
    assert done.returncode == NO
    assert why in done.stderr
    assert snapshot(project) == before
