"""Every command under conditions that a process can meet: run as a process of its own, which
imports everything once and forks a child for each command and condition."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from recpack.cli import app, train

RECPACK = {
    "convert": "convert DEVKIT new/a.rec --jobs 2 --segment-size 64KiB",
    "convert to a folder": "convert DEVKIT new/images/ --jobs 2",
    "list": "list DEVKIT new/a.lst",
    "pack": "pack train.lst DEVKIT new/a.rec",
    "check": "check DEVKIT --report new/check.html",
    "inspect": "inspect train.rec",
    "inspect a record": "inspect train.rec --record 0",
    "verify": "verify train.rec --deep",
    "index": "index train.rec --overwrite",
    "merge": "merge new/a.rec train.rec train.rec",
    "unpack": "unpack train.rec new/unpacked",
    "preview": "preview train.rec new/sheet.png --count 2",
    "s3-cleanup": "s3-cleanup s3://bucket/p --endpoint-url SERVER",
    "download": "download voc2007 new/archives --mirror SERVER",
    "demo": "demo new/demo",
}
AWS = "--region us-east-1 --endpoint-url SERVER"
TRAIN = {
    "fit": "fit --train s3://b/t/t.rec --validation s3://b/v/v.rec --output s3://b/m",
    "status": "status voc-1",
    "logs": "logs voc-1 --follow",
    "stop": "stop voc-1",
    "deploy": "deploy voc-1",
    "predict": "predict voc-1 train.rec",
    "evaluate": "evaluate voc-1 train.rec",
    "delete": "delete voc-1",
}


def _redirect(descriptor: int, path: str) -> Callable[[], object]:
    return lambda: os.dup2(os.open(path, os.O_WRONLY), descriptor)


def _close(descriptor: int) -> None:
    os.close(descriptor)
    setattr(sys, ("stdin", "stdout", "stderr")[descriptor], None)  # as Python does at its start


def _broken_pipe() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    os.dup2(theirs, 1)


def _removed_folder() -> None:
    gone = tempfile.mkdtemp()
    os.chdir(gone)
    os.rmdir(gone)


def _bare_environment() -> None:
    for name in ("HOME", "TERM", "LANG", "LC_ALL", "USER", "LOGNAME"):
        os.environ.pop(name, None)
    os.environ |= dict.fromkeys(("TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), "/proc/none")
    tempfile.tempdir = None


def _little_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (12 << 20),) * 2)


CONDITIONS: Mapping[str, Callable[[], object]] = {
    "none": lambda: None,
    "a full standard output": _redirect(1, "/dev/full"),
    "a closed standard output": lambda: _close(1),
    "a reader that is gone": _broken_pipe,
    "a full standard error": _redirect(2, "/dev/full"),
    "a closed standard error": lambda: _close(2),
    "a removed folder": _removed_folder,
    "a bare environment": _bare_environment,
    "16 files": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16)),
    "little memory": _little_memory,
}


class Outcome(NamedTuple):
    """What came of a command: its exit code, and what it wrote."""

    condition: str
    command: str
    code: int
    out: str
    err: str


def sweep(devkit: str, server: str, condition: str) -> None:
    """Run all commands under a condition, in the current folder; print the outcomes as JSON."""
    import recpack.demo.s3_server
    import recpack.demo.story
    from recpack.demo.story import make_devkit

    def small(root: Path, progress: object = None) -> Path:
        del progress
        return make_devkit(root, images=5)

    recpack.demo.story.make_devkit = small  # type: ignore[assignment]
    recpack.demo.s3_server.is_installed = lambda: False
    for name in recpack.__all__:  # children need not import them again
        getattr(recpack, name)
    outcomes = []
    for program, commands in ((app.console, RECPACK), (train.console, TRAIN)):
        for command, line in commands.items():
            line += f" {AWS}" if program is train.console else ""
            words = line.replace("DEVKIT", devkit).replace("SERVER", server).split()
            outcomes.append(_run(program, command, words, condition))
            shutil.rmtree("new", ignore_errors=True)
    print(json.dumps(outcomes))


def _run(
    program: Callable[[], NoReturn], command: str, words: list[str], condition: str
) -> Outcome:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.makedirs("new", exist_ok=True)
        process = os.fork()
        if not process:
            sys.argv = ["recpack", *words]
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            CONDITIONS[condition]()
            try:
                program()
            except SystemExit as stop:
                sys.exit(stop.code)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return Outcome(condition, command, code, *texts)
