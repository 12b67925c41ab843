"""What holds after a run into S3, or from it, however it ended."""

from __future__ import annotations

import operator
import posixpath
import signal
from collections.abc import Iterator
from functools import partial

from tests.faults.s3_commands import BUCKET, Command, command, files, look
from tests.faults.s3_run import Outcome, run
from tests.faults.store import Action, Fault, State, Store

_CODES = (0, 1, 130)


class Promise:
    """One command's. ``check`` returns the broken ones."""

    def __init__(self, store: Store, command: Command) -> None:
        self._store, self._command = store, command
        self._rest = command.rest or command.before
        self._known: dict[object, tuple[Outcome, State]] = {}
        whole, self.after = self._continue("again", command.action, command.before)
        assert whole.code == 0, whole
        self.requests = [f"{request.name} {request.key}" for request in store.requests]
        self._whole = whole
        self._files = files(command.folder) if command.folder else {}
        self._old, self._new = self._seen(self._rest), self._seen(self.after)
        assert "broken" not in "".join(self._new), self._new

    def check(self, fault: Fault) -> tuple[Outcome, list[str]]:
        """Run the command with a fault; its outcome, and the promises that it broke."""
        command = self._command
        self._store.restore(command.before)
        outcome = run(command.action, self._store, fault, chunk=command.chunk)
        return outcome, list(self._broken(outcome, self._store.state))

    def _broken(self, outcome: Outcome, state: State) -> Iterator[str]:
        if "Traceback" in outcome.output or not (outcome.killed or outcome.code in _CODES):
            ended = " hung" * (outcome.code == -signal.SIGALRM)
            yield f"ended with {outcome.code}{ended}: {outcome.output[-1500:]}"
        yield from self._others(state)
        yield from self._what_is_seen(outcome, state, "")
        if self._command.folder is not None:
            yield from self._local(outcome)
        if outcome.code == 0 and outcome.output != self._whole.output:
            yield f"another result: {outcome.output}"
        same = self._is_clean(state)
        told = any(word in outcome.output for word in ("s3-cleanup", "--resume", "stay: remove"))
        if not (same or outcome.killed or told or outcome.code == 0):
            yield f"something is left, and nobody was told: {self._left(state)}"
        if self._command.keeps_objects:
            yield from self._kept(state)
        elif not same:
            yield from self._continued(outcome, state)

    def _others(self, state: State) -> Iterator[str]:
        before = self._command.before
        for key in before.objects.keys() & self.after.objects.keys():
            blob = before.objects[key]
            if self.after.objects[key] is blob and state.objects.get(key) is not blob:
                yield f"{key} is of somebody else, and is gone or changed"
        if not before.uploads.keys() & self.after.uploads.keys() <= state.uploads.keys():
            yield "the upload of somebody else is gone"

    def _what_is_seen(self, outcome: Outcome, state: State, when: str) -> Iterator[str]:
        for seen, old, new in zip(self._seen(state), self._old, self._new, strict=True):
            allowed = {new} if outcome.code == 0 else {old, new}
            if seen == '{"state": "unfinished"}\n' and outcome.code and "nothing" in old:
                continue  # it doesn't look finished, and what comes next clears it away
            if seen not in allowed:
                yield f"{when}after exit code {outcome.code}, readers see {seen}"

    def _local(self, outcome: Outcome) -> Iterator[str]:
        folder = self._command.folder
        assert folder is not None
        found = files(folder)
        if outcome.code == 0 and found != self._files:
            yield f"other files: {sorted(found.items() ^ self._files.items())}"[:300]
        finished = self._command.looks_finished
        if finished in found and found != self._files:
            yield f"{finished} is there, but the other files are not whole: {sorted(found)}"

    def _kept(self, state: State) -> Iterator[str]:
        """What a failed export leaves is a part of what it would have written."""
        whole = self.after.bytes().items()
        if not state.bytes().items() <= whole or state.uploads.keys() - self.after.uploads.keys():
            yield f"strays: {self._left(state)}"
        documents = [key for key in whole if "_annotation/" in key[0]]
        images = [item for item in whole if item not in documents]
        if state.bytes().items() & set(documents) and not set(images) <= state.bytes().items():
            yield "a JSON file came before the last image"

    def _continued(self, outcome: Outcome, state: State) -> Iterator[str]:
        """``s3-cleanup``, and the same command again, put everything in order."""
        place, *options = self._command.cleanup
        cleanup = command("s3-cleanup", BUCKET + place, *options, "--quiet")
        cleaned, clean = self._continue("cleanup", cleanup, state)
        yield from self._orderly("s3-cleanup", cleaned, clean)
        yield from self._what_is_seen(outcome, clean, "after s3-cleanup, ")
        again, final = self._continue("again", self._command.action, state)
        exists = again.code == 1 and "exists" in again.output
        published = any(map(operator.eq, self._seen(final), self._new))
        if again.code and not (exists and published):
            yield f"the next run fails: {again.output}"
        if not again.code and self._command.recs:  # no marker tells of a text alone
            yield from self._orderly("the next run", again, final)

    def _orderly(self, what: str, outcome: Outcome, state: State) -> Iterator[str]:
        if outcome.code:
            yield f"{what} fails: {outcome.output}"
        elif not self._is_clean(state):
            yield f"{what} leaves {self._left(state)}"

    def _continue(self, what: str, action: Action, state: State) -> tuple[Outcome, State]:
        """A run without faults, from this state: one outcome, so each is run once."""
        key = what, state.key()
        if len(self._known) > 300:
            self._known.clear()
        if key not in self._known:
            self._store.restore(state)
            outcome = run(action, self._store, chunk=self._command.chunk)
            self._known[key] = outcome, self._store.state
        return self._known[key]

    def _seen(self, state: State) -> list[str]:
        looks = (partial(look, rec) for rec in self._command.recs)
        return [
            self._continue(f"look at {rec}", one, state)[0].output
            for rec, one in zip(self._command.recs, looks, strict=True)
        ]

    def _is_clean(self, state: State) -> bool:
        """Nothing is there but what was before, or what a whole run leaves: of each output, because
        those of a split are published one after the other."""
        clean = [self._rest, self._command.before, self.after]
        if state.uploads.keys() not in [one.uploads.keys() for one in clean]:
            return False
        found, *wholes = map(_by_output, (state, *clean))
        names = {name for one in (found, *wholes) for name in one}
        return all(found.get(name) in [one.get(name) for one in wholes] for name in names)

    def _left(self, state: State) -> str:
        nearest = self._rest
        there, before = state.bytes().items(), nearest.bytes().items()
        changed = sorted({key for key, _ in there ^ before})
        return f"{changed}, uploads {sorted(state.uploads.keys() ^ nearest.uploads.keys())}"


def _by_output(state: State) -> dict[str, dict[str, bytes]]:
    """The objects by the name of their output, without folder and suffix."""
    found: dict[str, dict[str, bytes]] = {}
    for key, data in state.bytes().items():
        found.setdefault(posixpath.basename(key).partition(".")[0], {})[key] = data
    return found
