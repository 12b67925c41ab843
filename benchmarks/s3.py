"""Sending into S3, alone and as the whole job, beside boto3 and the AWS way."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import Measured
from benchmarks.data import make_voc
from benchmarks.store import certificate

PARTS = 50
"""Of 16 MiB: 839 MB, about what the devkit's images have."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1",
}  # fmt: skip

IM2REC = (
    "import os, runpy, sys, numpy; numpy.bool = bool; import mxnet; "
    "tool = os.path.join(os.path.dirname(mxnet.__file__), 'tools', 'im2rec.py'); "
    "sys.argv[0] = tool; runpy.run_path(tool, run_name='__main__')"
)
UPLOAD = (
    "import boto3, sys; s3 = boto3.client('s3', endpoint_url=sys.argv[1])\n"
    "for name in sys.argv[2:]: s3.upload_file(name, 'bucket', name.rpartition('/')[2])"
)

Work = Callable[[], Measured]


@contextmanager
def store(*arguments: str) -> Iterator[str]:
    """The URL of a server that throws away what it is sent."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.store", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    yield server.stdout.readline().strip()
    server.stdin.close()
    server.wait()


def send(*arguments: object) -> Work:
    """See benchmarks.send: its own seconds, without the start of Python."""

    def work() -> Measured:
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.send", *map(str, arguments)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return Measured(*json.loads(run.stdout))

    return work


def commands(*all_: list[object]) -> Work:
    """Whole processes one behind the other, their start included."""

    def work() -> Measured:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        for command in all_:
            subprocess.run(
                list(map(str, command)), check=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Measured(seconds, cpu)

    return work


@contextmanager
def works(folder: Path) -> Iterator[dict[str, dict[str, Work]]]:
    """Tables of works; the first of each is the one to compare with."""
    os.environ |= CREDENTIALS
    certificate(folder / "tls")
    os.environ["AWS_CA_BUNDLE"] = str(folder / "tls" / "cert.pem")
    voc = make_voc(folder / "voc")
    file = folder / "upload.rec"
    file.write_bytes(bytes(PARTS << 24))
    with ExitStack() as stack:
        plain = stack.enter_context(store())
        tls = stack.enter_context(store("--tls", str(folder / "tls")))
        slow = stack.enter_context(store("--rate", "90"))
        tables: dict[str, dict[str, Work]] = {}
        for name, url in (("http", plain), ("TLS", tls)):
            tables[f"sending 839 MB, {name}"] = {
                "raw sockets, 4": send("raw", url, PARTS, 4),
                "recpack, 4 uploads": send("recpack", url, PARTS, 4),
                "recpack, 16 uploads": send("recpack", url, PARTS, 16),
                "upload_file": send("upload_file", url, PARTS, 0, file),
                "upload_file, 2 threads, 16 MiB parts": send("upload_file", url, PARTS, 2, file),
            }
        tables["sending 839 MB, 90 MB/s a connection"] = {
            "raw sockets, 16": send("raw", slow, PARTS, 16),
            "recpack, 16 uploads": send("recpack", slow, PARTS, 16),
            "upload_file": send("upload_file", slow, PARTS, 0, file),
        }
        recpack = [sys.executable, "-m", "recpack", "convert", voc]
        job: dict[str, Work] = {
            "convert to memory": commands([*recpack, folder / "out.rec", "--overwrite"]),
            "send alone": send("recpack", plain, PARTS, 16),
            "convert s3://": commands(
                [*recpack, "s3://bucket/p/train.rec", "--endpoint-url", plain, "--overwrite"]
            ),
        }
        python = os.environ.get("RECPACK_MXNET_PYTHON")
        if python:
            made = [folder / f"aws.{suffix}" for suffix in ("lst", "rec", "idx")]
            rows = [sys.executable, "benchmarks/aws.py", voc, "2012", made[0]]
            im2rec = [python, "-c", IM2REC, folder / "aws", voc, "--pack-label"]
            upload = [sys.executable, "-c", UPLOAD, plain, *reversed(made)]
            best, encoding = [*im2rec, "--pass-through"], [*im2rec, "--num-thread", "4"]
            job["AWS at its best: list, im2rec --pass-through, upload_file"] = commands(
                rows, best, upload
            )
            job["AWS as its tool runs it: list, im2rec (encodes), upload_file"] = commands(
                rows, encoding, upload
            )
        tables["the whole job, 16,551 images, http"] = job
        yield tables
