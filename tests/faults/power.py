"""Power cuts: what may lie on the disk when the power fails between two calls.

The model is the weakest that POSIX allows, as ALICE and CrashMonkey have it. A file's content is
safe from ``fsync`` of the file on, a name (made, renamed, removed) from ``fsync`` of its folder on.
Whatever else was done may be there or not, each for itself and in any order: a later rename without
an earlier one, a name without the content, half of a write, zeros. A rename and a removal are whole
or not at all, and what was there before the run is safe.

States are built of the files of the recorded run themselves, because a journal names inodes.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tests.faults.calls import WRITES, Fault, Step
from tests.faults.local_promise import NEW, files_of
from tests.faults.local_run import Broken, Case, Harness

Place = tuple[int, str]
"""A name: its folder's inode number and itself."""
_RANDOM_STATES = 6


@dataclass
class File:
    """Content on the disk, and the writes and truncations since the last ``fsync``."""

    safe: bytes = b""
    pending: list[Step] = field(default_factory=list)

    def content(self, steps: list[Step], *, zeros: bool = False) -> bytes:
        """The content when only these of the pending steps arrived."""
        data = bytearray(self.safe)
        for step in steps:
            size = step.offset + len(step.data)
            if step.kind == "ftruncate":
                del data[size:]
            data.extend(bytes(max(size - len(data), 0)))
            if not zeros:
                data[step.offset : size] = step.data
        return bytes(data)


Change = Mapping[Place, int]
"""Names and what they lead to from now on: an inode number, 0 for nothing."""


class Disk:
    """A disk that plays a record back. ``names`` are safe, ``pending`` changes are not yet."""

    def __init__(self, names: dict[Place, int], files: dict[int, File]) -> None:
        self.names, self.files = names, files
        self.pending: list[Change] = []
        self.folders: set[int] = set()

    def play(self, step: Step) -> None:
        if step.kind == "sync":
            for file in self.files.values():
                self._make_safe(file)
            for change in self.pending:
                self.names.update(change)
            self.pending = []
        elif step.kind == "fsync" and step.inode in self.files:
            self._make_safe(self.files[step.inode])
        elif step.kind == "fsync":
            synced = [one for one in self.pending if any(at == step.inode for at, _ in one)]
            for change in synced:
                self.names.update(change)
            self.pending = [one for one in self.pending if one not in synced]
        elif step.kind in ("write", "ftruncate"):
            self.files[step.inode].pending.append(step)
        else:
            if step.kind == "mkdir":
                self.folders.add(step.inode)
            elif step.kind == "create":
                self.files[step.inode] = File()
            change = {step.place: step.inode}
            if step.kind in ("rename", "link"):
                change[step.target] = step.inode
            if step.kind in ("rename", "unlink"):
                change[step.place] = 0
            self.pending.append(change)

    @staticmethod
    def _make_safe(file: File) -> None:
        file.safe = file.content(file.pending)
        file.pending = []

    def states(self, seed: int) -> Iterator[tuple[dict[Place, int], dict[int, bytes]]]:
        """Names and contents that may be there after a cut now."""
        count = len(self.pending)
        every = list(range(count))
        choices = [every, [], *([one] for one in every),
                   *([one for one in every if one != left] for left in every)]  # fmt: skip
        arrived = {inode: file.content(file.pending) for inode, file in self.files.items()}
        lost = {inode: file.safe for inode, file in self.files.items()}
        zeros = {inode: file.content(file.pending, zeros=True)
                 for inode, file in self.files.items()}  # fmt: skip
        for choice in choices:
            for contents in (arrived, lost, zeros):
                yield self._names_after(choice), contents
        dice = random.Random(seed)
        for _ in range(_RANDOM_STATES):
            choice = [one for one in every if dice.random() < 0.5]
            yield (
                self._names_after(choice),
                {inode: self._some_content(file, dice) for inode, file in self.files.items()},
            )

    def _names_after(self, choice: list[int]) -> dict[Place, int]:
        names = dict(self.names)
        for number in choice:
            names.update(self.pending[number])
        return names

    @staticmethod
    def _some_content(file: File, dice: random.Random) -> bytes:
        steps = [step for step in file.pending if dice.random() < 0.7]
        if steps and steps[-1].data:
            steps[-1] = steps[-1]._replace(data=steps[-1].data[: len(steps[-1].data) // 2])
        return file.content(steps, zeros=dice.random() < 0.2)


class PowerCuts:
    """All cuts of one run of a command."""

    def __init__(self, harness: Harness, before: str, work: Path) -> None:
        self.harness, self.before = harness, before
        self._graves = work / "graves"
        shutil.rmtree(self._graves, ignore_errors=True)
        self._graves.mkdir()
        out = harness.out
        case = Case(before, harness.command.jobs[-1], Fault())
        harness.start(case)
        self._files, names = {}, {}
        self._top = os.stat(out).st_ino
        self._folders = {self._top}
        for folder, folders, found in os.walk(out):
            inode = os.stat(folder).st_ino
            for name in found:
                number = os.stat(os.path.join(folder, name)).st_ino
                os.link(os.path.join(folder, name), self._graves / str(number))
                self._files[number] = (Path(folder) / name).read_bytes()
                names[inode, name] = number
            for name in folders:
                number = os.stat(os.path.join(folder, name)).st_ino
                self._folders.add(number)
                names[inode, name] = number
        self._names = names
        self.case = case
        self.outcome = harness.go_on(case, WRITES, self._graves)
        assert self.outcome.code == 0, self.outcome

    def states(self) -> Iterator[tuple[int, dict[Place, int], dict[int, bytes]]]:
        """The number of steps done, names and contents; no state twice in a row of steps."""
        files = {inode: File(data) for inode, data in self._files.items()}
        disk = Disk(dict(self._names), files)
        seen = set()
        for done, step in enumerate([None, *self.outcome.steps]):
            if step is not None:
                disk.play(step)
            for names, contents in disk.states(done):
                reached = frozenset((place, inode) for place, inode in names.items() if inode)
                used = frozenset((inode, contents.get(inode)) for _, inode in reached)
                last = done == len(self.outcome.steps)
                if (reached, used, last) not in seen:
                    seen.add((reached, used, last))
                    self._folders |= disk.folders
                    yield done, names, contents

    def judge(
        self, done: int, names: dict[Place, int], contents: dict[int, bytes], *, again: bool
    ) -> list[Broken]:
        """What is wrong with a state; ``again``: also after the next run."""
        harness = self.harness
        shutil.rmtree(harness.out)
        harness.out.mkdir()
        self._build(harness.out, self._top, names, contents)
        files = files_of(harness.out)
        states, wrong = harness.promise.state(harness.out, files)
        wrong += harness.lost(self.before, states)
        if done == len(self.outcome.steps) and any(state != NEW for state in states):
            wrong.append("success was reported, but the output did not survive")
        if again and not wrong:
            wrong += harness.run_again(self.case, states)
        case = f"{self.before} before, power cut after step {done} of {len(self.outcome.steps)}"
        return [Broken(harness.command.name, case, ("", ""), one) for one in wrong]

    def _build(
        self, folder: Path, inode: int, names: dict[Place, int], contents: dict[int, bytes]
    ) -> None:
        for (parent, name), number in names.items():
            if parent != inode or not number:
                continue
            if number in self._folders:
                (folder / name).mkdir()
                self._build(folder / name, number, names, contents)
            else:
                grave = self._graves / str(number)
                grave.write_bytes(contents[number])
                os.link(grave, folder / name)


def cuts(harness: Harness, work: Path, some: slice, again: int) -> Iterator[list[Broken]]:
    """What is wrong with some of the states; after every ``again``-th of these the command runs
    again."""
    count = 0
    for before in harness.befores():
        power = PowerCuts(harness, before, work)
        for state in islice(power.states(), some.start, some.stop, some.step):
            count += 1
            yield power.judge(*state, again=count % again == 0)
