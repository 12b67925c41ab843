"""Runs a command in a child in which one call fails; compares what it left with the promise."""

from __future__ import annotations

import os
import select
import shutil
import signal
import tempfile
import traceback
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.calls import (
    AFTER,
    BEFORE,
    KILL_AFTER,
    READS,
    WRITES,
    Calls,
    Fault,
    Step,
    ways_of,
)
from tests.faults.local_commands import SKIP, Command, make_inputs
from tests.faults.local_promise import (
    HALF,
    NEW,
    NOTHING,
    OLD,
    Files,
    Promise,
    files_of,
    write_files,
)

OTHERS = {"notes.txt": b"mine", "train.rec.bak": b"mine", "other.json": b"{}"}
"""Files of others, beside every output."""
_CLEANING = ("unlink", "rmdir", "remove", "open-folder", *READS)
"""After such a failure a run can't know what lies there, or can't remove it: the next run does."""
_TRACEBACK, _HANGS, _INTERRUPTED = 99, 98, 130
_SECONDS = 60


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its exit code, None when it was killed; its messages; the kinds of its
    calls, kind and path of the one that failed, and the changes recorded."""

    code: int | None
    text: str
    seen: list[str]
    struck: tuple[str, str]
    steps: list[Step]


def run(
    work: Callable[[], int],
    roots: tuple[Path, ...],
    fault: Fault | None = None,
    kinds: dict[str, tuple[int, ...]] = WRITES,
    graveyard: Path | None = None,
) -> Outcome:
    """Run in a child of its own process group, until it and its workers have ended."""
    calls = Calls(
        tuple(map(os.fspath, roots)), kinds, fault or Fault(), graveyard and os.fspath(graveyard)
    )
    alive, held = os.pipe()  # all processes of the group have its end open
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            _run_child(work, calls, alive, output.fileno())
        os.close(held)
        ready, _, _ = select.select([alive], [], [], _SECONDS)
        if not ready:
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.read(alive, 1)  # until its workers have ended too
        os.close(alive)
        output.seek(0)
        text = output.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    if not ready:
        code = _HANGS
    steps = calls.steps() if graveyard else []
    outcome = Outcome(None if code < 0 else code, text, calls.seen, calls.struck, steps)
    calls.close()
    return outcome


def _run_child(work: Callable[[], int], calls: Calls, alive: int, output: int) -> None:
    code = _TRACEBACK
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(alive)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(output, 2)
        calls.install()
        code = work()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


@dataclass(frozen=True)
class Case:
    """One run: what was there ``before``, the number of workers, the call that failed."""

    before: str
    jobs: int
    fault: Fault

    def __str__(self) -> str:
        number, way, variant = self.fault
        return f"{self.before} before, jobs {self.jobs}, call {number} {way} ({variant})"


@dataclass
class Broken:
    """A promise that did not hold."""

    command: str
    case: str
    struck: tuple[str, str]
    wrong: str

    def __str__(self) -> str:
        kind, path = self.struck
        return f"{self.command}: {self.case}: {kind} {os.path.basename(path)}: {self.wrong}"


class Harness:
    """All runs of one command. ``work`` is a folder for everything."""

    def __init__(self, command: Command, inputs: Path, work: Path) -> None:
        self.command, self.inputs = command, inputs
        self.out = work / "out"
        files = {}
        for state in (OLD, NEW):
            outcome = self._make(state)
            assert outcome.code == 0 or command.name.startswith("check"), outcome
            given = self._given(state)
            files[state] = {name: data for name, data in files_of(self.out).items()
                            if name not in given}  # fmt: skip
            if state == OLD:
                calls = len(outcome.seen)
        self.promise = Promise(command, files[OLD], files[NEW], {**given, **OTHERS}, work)
        self._published: int | None = None
        if len(command.outputs) == 1 and command.outputs[0].endswith(".rec"):
            self._published = bisect_left(range(calls), True, key=self._is_published)

    def _given(self, state: str) -> Files:
        return {name: (self.inputs / state / source).read_bytes()
                for name, source in self.command.given.items()}  # fmt: skip

    def _make(self, state: str, fault: Fault = Fault()) -> Outcome:  # noqa: B008
        """Write the old or the new output where nothing is."""
        self.prepare(self._given(state))
        scans = self.command.words[:1] in (("convert",), ("list",), ("check",))
        options = SKIP if scans and state == OLD else ()
        return run(lambda: self._work(1, state, *options), (self.out,), fault)

    def _is_published(self, call: int) -> bool:
        """Whether the old output is there when its run is killed after this call."""
        self._make(OLD, Fault(call, KILL_AFTER))
        write_files(self.out, self.promise.given)
        return self.promise.state(self.out, files_of(self.out))[0] == [OLD]

    def _work(self, jobs: int, state: str = NEW, *options: str) -> int:
        return self.command.run(self.inputs / state, self.out, jobs, *options)

    def prepare(self, *files: Files) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        for some in files:
            write_files(self.out, some)

    def befores(self) -> tuple[str, ...]:
        """What can lie there before a run of this command."""
        if self.command.replaces == "never":
            return (NOTHING,)
        return (NOTHING, OLD) if self._published is None else (NOTHING, OLD, HALF)

    def start(self, case: Case) -> None:
        """Put there what lies there before."""
        if case.before == HALF:
            assert self._published is not None
            assert self._is_published(self._published)
        else:
            self.prepare(self.promise.old if case.before == OLD else {}, self.promise.given)

    def attempt(self, case: Case, kinds: dict[str, tuple[int, ...]]) -> Outcome:
        """Run from the beginning."""
        self.start(case)
        return self.go_on(case, kinds)

    def go_on(
        self, case: Case, kinds: dict[str, tuple[int, ...]], graveyard: Path | None = None
    ) -> Outcome:
        """Run with what lies there."""
        replaces = case.before != NOTHING and self.command.replaces == "option"
        options = ("--overwrite",) if replaces else ()
        reads_inputs = kinds is READS and not self.command.counts_errors
        roots = (self.out, self.inputs) if reads_inputs else (self.out,)
        return run(
            lambda: self._work(case.jobs, NEW, *options), roots, case.fault, kinds, graveyard
        )

    def cases(self, kinds: dict[str, tuple[int, ...]]) -> Iterator[Case]:
        """Every call in turn, in every way."""
        for before in self.befores():
            for jobs in self.command.jobs:
                calm = self.attempt(Case(before, jobs, Fault()), kinds)
                assert calm.code == 0, calm
                for number, kind in enumerate(calm.seen):
                    for way in ways_of(kind, number, workers=jobs > 1):
                        yield Case(before, jobs, Fault(number, way, variant=number))

    def judge(self, case: Case, outcome: Outcome) -> list[Broken]:
        """What is wrong after a run with a fault."""
        files = files_of(self.out)
        states, wrong = self.promise.state(self.out, files)
        left = self.promise.others(files)
        if outcome.code == _TRACEBACK or "Traceback" in outcome.text:
            wrong.append("traceback: " + outcome.text.strip().splitlines()[-1])
        if outcome.code == _HANGS:
            wrong.append("hangs")
        wrong += self.lost(case.before, states)
        whole = all(state == NEW for state in states)
        killed = outcome.code is None
        if outcome.code == 0 and not whole:
            wrong.append("success without an output")
        denied = outcome.code == _INTERRUPTED and "nothing is left" in outcome.text
        failed = outcome.code not in (0, None, _INTERRUPTED)
        if whole and (failed or denied) and "whole" not in outcome.text:
            wrong.append("the output is whole, but the run reports a failure")
        if (
            not killed
            and left
            and not self._excused(case, outcome)
            and not (outcome.code and (whole or case.before == HALF))
        ):
            wrong.append(f"left behind: {', '.join(left)}")
        if not wrong and (killed or left or (whole and outcome.code)):
            wrong += self.run_again(case, states)
        return [Broken(self.command.name, str(case), outcome.struck, one) for one in wrong]

    def lost(self, before: str, states: list[str]) -> list[str]:
        """Old outputs that are no more; of a folder only its mark is."""
        old = self.promise.old if before != NOTHING and not self.command.mark else {}
        return [f"{output}: the old output is lost"
                for output, state in zip(self.command.outputs, states, strict=True)
                if state == NOTHING and self.promise.finished(output, old)]  # fmt: skip

    def _excused(self, case: Case, outcome: Outcome) -> bool:
        """Whether the run could not clean up: a call on the temporary files themselves failed."""
        kind, path = outcome.struck
        way = case.fault.way
        if way not in (BEFORE, AFTER) or (kind == "open" and way == BEFORE):
            return False
        below = os.path.relpath(path, self.out)
        return (
            kind in (*_CLEANING, "open")
            and not below.startswith("..")
            and below not in self.promise.new
        )

    def run_again(self, case: Case, states: list[str]) -> list[str]:
        """The next run, first without the permission to replace."""
        wrong = []
        occupied = case.before != NOTHING or any(state != NOTHING for state in states)
        if occupied and self.command.replaces == "option":
            outcome = run(lambda: self._work(case.jobs), (self.out,))
            if outcome.code != 1 or "Traceback" in outcome.text:
                wrong.append(f"run again without --overwrite: {outcome.code} {outcome.text[-200:]}")
            if self.promise.state(self.out, files_of(self.out))[0] != states:
                wrong.append("run again without --overwrite: it changed the output")
        if occupied and self.command.replaces == "never":
            return wrong  # the user must move it away first
        options = ("--overwrite",) if occupied and self.command.replaces == "option" else ()
        outcome = run(lambda: self._work(case.jobs, NEW, *options), (self.out,))
        files = files_of(self.out)
        if outcome.code != 0 or not self.promise.complete(files):
            left = ", ".join(self.promise.others(files))
            wrong.append(f"run again: {outcome.code} {outcome.text[-200:]} {left}")
        return wrong


def make_all_inputs(folder: Path) -> Path:
    """Inputs of the new output and of the old one."""
    make_inputs(folder / NEW, 0, broken=False)
    make_inputs(folder / OLD, 7, broken=True)
    return folder
