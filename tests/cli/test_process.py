"""The process of the commands: streams, signals, limits. No traceback, and the promised codes."""

from __future__ import annotations

import errno
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import recpack
from recpack.cli.app import main
from recpack.cli.process import remedy
from recpack.storage.explain import explain as reason_of
from tests.sinks.test_killed import FINAL, SLOW, names, start, wait_for_bytes
from tests.support.conditions import CONDITIONS, Outcome
from tests.support.devkits import make_voc

pytestmark = pytest.mark.once


class _Refuse(BaseHTTPRequestHandler):
    """Answers every request with an error whose message wants to move the cursor."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b'{"__type": "ValidationException", "message": "no \\u001b[31mjob\\u202e"}'
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refuse)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_voc(tmp_path_factory.mktemp("small") / "VOCdevkit", {"2007": 12})
    recpack.convert(folder, folder.parent / "train.rec")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_command_under(condition: str, small: Path, refusing: str, tmp_path: Path) -> None:
    for path in small.parent.glob("train.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    script = (
        f"import sys; sys.path.insert(0, {os.getcwd()!r}); from tests.support.conditions import *; "
        f"sweep({str(small)!r}, {refusing!r}, {condition!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcomes = [Outcome(*one) for one in json.loads(done.stdout)]
    assert len(outcomes) > 20
    for outcome in outcomes:
        assert outcome.code in (0, 1, 2), outcome
        assert "Traceback" not in outcome.err, outcome
        # without memory Python itself writes that finalizers failed
        assert "Exception ignored" not in outcome.err or condition == "little memory", outcome
        assert not {"\x1b", "\u202e"} & {*outcome.out, *outcome.err}, outcome
        if condition == "none":
            assert outcome.out or outcome.code, outcome
        if outcome.code and "standard error" not in condition and "reader" not in condition:
            assert outcome.err.strip(), outcome


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "recpack", *map(os.fspath, words)]


@pytest.mark.parametrize("options", [(), ("--json",), ("--dry-run",)])
def test_a_lost_report_is_not_a_lost_result(
    small: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    output = tmp_path / "a.rec"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("convert", small, output, *options), stdout=full, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
    assert done.returncode == 1
    lost = "recpack convert: standard output can't be written: No space left on device; only this"
    whole = "all else is done" if "--dry-run" in options else f"{output} is whole"
    assert done.stderr == f"{lost} report is lost, {whole}\n"
    assert output.exists() == ("--dry-run" not in options)


EARLY = """
import os, signal, sys
program, count = sys.argv.pop(1), int(sys.argv.pop(1))
exec(f"from recpack.cli.{program} import console")
def hook(event, _):
    global count
    if event in ("import", "open", "exec"):
        count -= 1
        if count == 0:
            signal.raise_signal(signal.SIGINT)
sys.addaudithook(hook)
console()
"""
AT = """
import signal, sys
from recpack.cli.app import console
class Callback:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
def hook(event, details):
    if WHEN:
        STOP
sys.addaudithook(hook)
console()
"""
"""Ctrl-C by an audit hook: STOP, WHEN it is called for an event with details."""


@pytest.mark.parametrize("event", [1, 6, 40, 130, 250, 330])
@pytest.mark.parametrize(
    ("program", "words"),
    [("app", ["verify", "REC"]), ("train", ["status", "x", "--endpoint-url", "http://[::1]:9"])],
)
def test_interrupted_at_the_start(small: Path, program: str, words: list[str], event: int) -> None:
    words = [word.replace("REC", f"{small.parent}/train.rec") for word in words]
    done = subprocess.run(
        [sys.executable, "-c", EARLY, program, str(event), *words], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert "Traceback" not in done.stderr
    # from 3.14 on Python tells of more events before this program begins
    assert "interrupted" in done.stderr or event < (40 if sys.version_info < (3, 14) else 130)


@pytest.mark.parametrize(
    ("when", "stop", "code"),
    [  # in NumPy's start, which says that a module can't be imported
        ("event == 'import' and details[0] == 'datetime'", "signal.raise_signal(2)", 130),
        # again while the files of the first one are removed
        ("event in ('os.truncate', 'os.remove')", "signal.raise_signal(2)", 130),
        # in OpenCV's start, which forgets it
        ("event == 'import' and details[0] == 'cv2.version'", "signal.raise_signal(2)", 130),
        # in a callback, where Python forgets it
        ("event == 'os.truncate'", "Callback()", 130),
        # when the result is published, and only the workers are stopped
        ("event == 'os.kill'", "signal.raise_signal(2)", 0),
    ],
)
def test_interrupted_at(small: Path, tmp_path: Path, when: str, stop: str, code: int) -> None:
    program = AT.replace("WHEN", when).replace("STOP", stop)
    output = tmp_path / "out/train.rec"
    words = ("convert", small, output, "--jobs", "2", "--resize", "700")
    done = subprocess.run(
        [sys.executable, "-c", program, *map(os.fspath, words)], capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert ("interrupted" in done.stderr) == bool(code)
    assert names(output.parent) == (set() if code else FINAL)


def test_a_terminal_that_is_closed(devkit: Path, tmp_path: Path) -> None:
    """It hangs up, and nothing can be written to it any more."""
    output = tmp_path / "out" / "train.rec"
    process, ours = pty.fork()
    if not process:
        words = ("convert", devkit, output, "--jobs", "2", "--segment-size", "64KiB", *SLOW)
        os.execv(sys.executable, command(*words))
    wait_for_bytes(output.parent)
    os.close(ours)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130
    assert names(output.parent) == set()


def test_a_hangup_that_is_ignored(devkit: Path, tmp_path: Path) -> None:
    """As nohup does it."""
    output = tmp_path / "out" / "train.rec"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(devkit, output)
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for_bytes(output.parent, process)
    os.killpg(process.pid, signal.SIGHUP)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0
    assert names(output.parent) == FINAL


def without(*capabilities: str) -> list[str]:
    """A prefix for a command that must obey the modes of files."""
    return ["setpriv", "--bounding-set", ",".join(f"-{one}" for one in capabilities)]


@pytest.mark.parametrize("mode", [0o000, 0o100])
@pytest.mark.parametrize("words", ["convert D a.rec", "check D", "list D a.lst", "pack l D a.rec"])
def test_a_folder_without_permission(tmp_path: Path, words: str, mode: int) -> None:
    folder = make_voc(tmp_path / "d", {"2007": 2})
    recpack.write_list(folder, tmp_path / "l")
    prefix = without("dac_override", "dac_read_search") if os.geteuid() == 0 else []
    folder.chmod(mode)
    try:
        named = [str(folder) if word == "D" else word for word in words.split()]
        done = subprocess.run(
            [*prefix, *command(*named)], cwd=tmp_path, capture_output=True, text=True
        )
    finally:
        folder.chmod(0o700)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert str(folder) in done.stderr
    assert names(tmp_path) == {"d", "l"}


def test_where_no_process_can_be_started(small: Path, tmp_path: Path) -> None:
    prefix = []
    if os.geteuid() == 0:  # whom this limit does not hold
        capable = "+dac_override,+dac_read_search"
        prefix = ["setpriv", "--reuid", "12345", "--clear-groups", "--inh-caps", capable]
        prefix += ["--ambient-caps", capable]
    words = command("convert", small, tmp_path / "a.rec", "--segment-size", "64KiB", "--jobs", "3")
    done = subprocess.run(["prlimit", "--nproc=1", *prefix, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1
    assert "warning: no worker can start, so one process does all" in done.stderr
    assert (tmp_path / "a.rec").read_bytes() == (small.parent / "train.rec").read_bytes()


@pytest.mark.parametrize("backend", ["fork", "loky"])
def test_without_semaphores(small: Path, tmp_path: Path, backend: str) -> None:
    """As where /dev/shm can't be written."""
    script = (
        "import _multiprocessing\n"
        "class Refused(_multiprocessing.SemLock):\n"
        "    def __new__(*_, **__): raise OSError(30, 'Read-only file system')\n"
        "_multiprocessing.SemLock = Refused\n"
        "from recpack.cli.app import console; console()"
    )
    words = ["convert", str(small), str(tmp_path / "a.rec"), "--quiet", "--jobs", "2"]
    done = subprocess.run(
        [sys.executable, "-c", script, *words, "--backend", backend, "--segment-size", "64KiB"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith("warning: ")] == []
    assert ("falling back to threading" in done.stderr) == (backend == "loky")
    assert (tmp_path / "a.rec").read_bytes() == (small.parent / "train.rec").read_bytes()


@pytest.mark.parametrize("files", [5, 6, 7, 9, 12])
def test_too_few_files_leave_no_image_out(small: Path, tmp_path: Path, files: int) -> None:
    """``--on-error skip`` is for faults of the data, not of this process."""
    words = command("convert", small, tmp_path / "a.rec", "--on-error", "skip", "--jobs", "2")
    done = subprocess.run(["prlimit", f"--nofile={files}", *words], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert "raise the limit on open files (ulimit -n 4096)" in done.stderr
        assert names(tmp_path) == set()
    else:
        assert (tmp_path / "a.rec").read_bytes() == (small.parent / "train.rec").read_bytes()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_fault_of_the_process_is_no_problem_of_a_file(number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)):
        reason_of(OSError(number, os.strerror(number)), "image")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO])
def test_the_remedy_for_a_list_that_the_process_could_not_open(number: int) -> None:
    error = recpack.DataError("trainval.txt: can't be read")
    error.__cause__ = OSError(number, os.strerror(number))
    assert ("ulimit" in remedy(error)) == (number != errno.EIO)


def test_the_remedy_for_a_place_that_is_closed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = recpack.DataError("a.png: can't be written")
    error.__cause__ = OSError(errno.EACCES, os.strerror(errno.EACCES))
    assert remedy(error) == "; let this user reach it, or name another path"
    (tmp_path / "x").touch()
    assert main(["demo", str(tmp_path / "x")]) == 1
    assert "Not a directory; a part of this path is a file: name" in capsys.readouterr().err


def test_an_image_for_which_there_is_no_memory() -> None:
    script = (
        "import cv2, numpy, resource\n"
        "from recpack.formats.image_codec import decode\n"
        "image = cv2.imencode('.png', numpy.zeros((6000, 6000, 3), numpy.uint8))[1].tobytes()\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + (30 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try:\n    decode(image)\nexcept MemoryError:\n    print('no memory')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "no memory\n", done.stderr
