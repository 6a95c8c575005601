"""Files saved and commits made while an upgrade is put in place, and kills at each of its steps: nothing is lost.

Merging takes seconds and writes nothing to the project, so it is done once; putting it in place is done at each moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from upgrading import CLEAN, CONFLICTS, LEVELS, REFUSED, Lab, commit, git, line, snapshot, write

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "hooks"))
import apply
import swap
import upgrade
from engine_git import GitError
from lock import MARK
from merge import Merge
from outcome import Refusal
from record import read_state
from repository import Repository
from template import template_commit

STEPS = [
    *((apply, name) for name in ("prepare", "begin", "moved_on", "add_conflicts", "replace_files", "check_late_saves")),
    *((swap, name) for name in ("set_aside", "put")),
]
MINE = "saved by the user\n"


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


@dataclass
class Ready:
    """A project, and the merge of another level and version that is ready to be put in place."""

    project: Path
    repository: Repository
    merge: Merge
    scratch: Path
    before: dict[str, tuple[int, bytes]]

    def apply(self) -> str:
        """Put it in place; the reason if that is refused."""
        try:
            apply.apply_merge(self.repository, self.merge, self.scratch)
        except (Refusal, GitError) as error:
            assert "half way" not in str(error), error
            return str(error)
        return ""

    def reset(self) -> None:
        """The project is as it was at first."""
        git(self.project, "reset", "-q", "--hard", self.repository.head)
        git(self.project, "clean", "-q", "-d", "-f")
        assert snapshot(self.project) == self.before


@pytest.fixture
def ready(merged) -> Iterator[Ready]:
    """The same for every test: what one has left is taken back."""
    yield merged
    (merged.repository.folder / "index.lock").unlink(missing_ok=True)
    merged.reset()


@pytest.fixture(scope="module")
def merged(lab, tmp_path_factory) -> Ready:
    folder = tmp_path_factory.mktemp("saves")
    project = lab.project(folder, "M1")
    write(project, {"probe/lines.txt": "".join(line(3, "my own line")), "probe/model.txt": "mine\n"})  # a conflict
    (project / "probe/tool.py").unlink()
    (project / "probe/tool.py").symlink_to("name.txt")
    commit(project)
    write(project, {".env": "TOKEN=1\n"})
    taken = {}

    def take(repository, merge, scratch):
        shutil.copytree(scratch / "objects", folder / "objects")
        taken.update(repository=repository, merge=merge)

    copy = lab.template(2)
    context = json.loads((copy / "cookiecutter.json").read_text()) | read_state(project)["default_context"]
    context |= {"maturity_level": LEVELS["P"], "_template": str(copy)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upgrade, "apply_merge", take)
        upgrade.upgrade(copy, project, context, template_commit(copy) | {"here": str(project)})
    return Ready(project, scratch=folder, before=snapshot(project), **taken)


@contextlib.contextmanager
def acting(action: Callable[[], None], at: int) -> Iterator[list[int]]:
    """The action comes before the step of that number; the list's one element counts the steps."""
    count = [0]

    def counted(function):
        def step(*arguments, **options):
            count[0] += 1
            if count[0] == at:
                action()
            return function(*arguments, **options)

        return step

    with pytest.MonkeyPatch.context() as patch:
        for module, name in STEPS:
            patch.setattr(module, name, counted(getattr(module, name)))
        yield count


def moments(ready: Ready, number: int) -> list[int]:
    """Steps to act before: the first and the last ones, and others between."""
    with acting(lambda: None, at=0) as count:
        assert not ready.apply()
    ready.reset()
    total = count[0]
    assert total > 40
    return sorted({*range(1, 9), *range(9, total - 3, max(1, total // number)), *range(total - 3, total + 1)})


def in_place(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(MINE)


def by_another_file(file: Path) -> None:
    in_place(file.with_name(".saved"))
    file.with_name(".saved").replace(file)


def opened_before(file: Path) -> Callable[[Path], None]:
    """A program has the file open since before the upgrade and writes only now."""
    stream = file.open("r+")

    def save(_: Path) -> None:
        with stream:
            stream.truncate(0)
            stream.write(MINE)

    return save


PATHS = ["probe/lines.txt", "probe/model.txt", "probe/gone.txt", "probe/new.txt", "README.md"]


@pytest.mark.parametrize("path", PATHS, ids=["changed", "conflict", "removed", "added", "elsewhere"])
def test_a_file_saved_at_any_moment_is_kept(ready, path):
    outcomes = set()
    for moment in moments(ready, 5):
        for how in (in_place, by_another_file, opened_before):
            file = ready.project / path
            if how is opened_before and not file.exists():
                continue
            save = opened_before(file) if how is opened_before else how
            with acting(lambda save=save, file=file: save(file), at=moment):
                refused = ready.apply()
            assert file.read_text() == MINE, (moment, how, refused)
            now = {name: found for name, found in snapshot(ready.project).items() if name != path}
            if refused:
                assert now == {name: found for name, found in ready.before.items() if name != path}, refused
                assert path in refused
            assert not (ready.repository.folder / "index.lock").exists()
            assert not (ready.repository.folder / "mlops-ladder").exists()
            outcomes.add(bool(refused))
            ready.reset()
    assert True in outcomes  # the others are part of the result


def test_a_program_that_saves_all_the_time_loses_nothing(ready):
    file, running = ready.project / "probe/lines.txt", threading.Event()
    last = [""]

    def save() -> None:
        number = 0
        while running.is_set():
            number += 1
            last[0] = f"{number}\n"
            file.write_text(last[0])
            running.wait(0) and threading.Event().wait(0.001)

    for _ in range(5):
        running.set()
        saver = threading.Thread(target=save)
        with acting(saver.start, at=4):  # after it was checked that all is committed
            ready.apply()
        running.clear()
        saver.join()
        assert file.read_text() == last[0]
        ready.reset()


def test_a_commit_made_meanwhile_is_not_undone(ready):
    write(ready.project, {"README.md": "committed meanwhile\n"})
    commit(ready.project)
    head, now = git(ready.project, "rev-parse", "HEAD"), snapshot(ready.project)
    refused = ready.apply()
    assert f"HEAD moved to {head[:12]}" in refused
    assert snapshot(ready.project) == now
    assert not git(ready.project, "status", "--porcelain")
    ready.reset()


def test_no_commit_can_be_made_while_files_are_replaced(ready):
    def try_to_commit() -> None:
        with pytest.raises(AssertionError, match=r"index\.lock"):
            git(ready.project, "commit", "-a", "-m", "half of it")

    with acting(try_to_commit, at=20):
        assert not ready.apply()
    ready.reset()


def test_an_ignored_file_made_meanwhile_is_kept(ready):
    (ready.project / ".git/info/exclude").write_text("probe/new.txt\n")
    with acting(lambda: in_place(ready.project / "probe/new.txt"), at=6):
        assert "probe/new.txt" in ready.apply()
    assert (ready.project / "probe/new.txt").read_text() == MINE
    (ready.project / "probe/new.txt").unlink()
    (ready.project / ".git/info/exclude").write_text("")
    ready.reset()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a copy of this process")
def test_killed_before_any_step(ready):
    folder = ready.repository.folder
    for moment in moments(ready, 10):
        for by_hand in (True, False):
            if not (child := os.fork()):
                with acting(lambda: os._exit(9), at=moment):
                    ready.apply()
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
            assert (folder / "index.lock").read_text() == MARK
            if by_hand:  # as docs/upgrading.md says
                (folder / "index.lock").unlink()
                git(ready.project, "reset", "-q", "--hard")
            else:
                apply.take_back_killed(ready.repository)
                assert not git(ready.project, "status", "--porcelain")
                assert not (folder / "mlops-ladder").exists()
            assert snapshot(ready.project) == ready.before, (moment, by_hand)
            assert not (folder / "index.lock").exists()
    assert not ready.apply()
    ready.reset()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a copy of this process")
def test_what_was_saved_after_a_kill_stays(ready):
    if not (child := os.fork()):
        with acting(lambda: os._exit(9), at=moments(ready, 1)[-1]):
            ready.apply()
        os._exit(0)
    os.waitpid(child, 0)
    write(ready.project, {"probe/new.txt": MINE, "probe/lines.txt": MINE})
    apply.take_back_killed(ready.repository)
    now = snapshot(ready.project)
    assert now.pop("probe/new.txt")[1] == now["probe/lines.txt"][1] == MINE.encode()
    assert {path for path in ready.before if now[path] != ready.before[path]} == {"probe/lines.txt"}
    ready.reset()


def test_the_lock_of_another_is_left_alone(lab, ready):
    lock = ready.repository.folder / "index.lock"
    for content in ("", "DIRC"):
        lock.write_text(content)
        apply.take_back_killed(ready.repository)
        assert "another git process is running" in ready.apply()
        assert lock.read_text() == content
        lock.unlink()
    if os.name == "posix":  # an upgrade that runs: its lock is held, so nothing is taken back
        with acting(lambda: apply.take_back_killed(ready.repository), at=30):
            assert not ready.apply()
        ready.reset()


def test_a_killed_upgrade_is_taken_back_by_the_next(lab, ready):
    (ready.repository.folder / "index.lock").write_text(MARK)
    preview = lab.upgrade(ready.project, "M2", "_preview=yes")
    assert preview.status == CLEAN
    assert "was killed" in preview.output
    outcome = lab.upgrade(ready.project, "M2")
    if os.name == "posix":
        outcome.check(CONFLICTS)
        assert "taken back" in outcome.output
    else:
        outcome.check(REFUSED)
