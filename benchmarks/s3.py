"""Sending into S3, alone and as part of the whole job, beside boto3 and the AWS sample."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.measure import Claim, Table, Work, commands, reporting_command
from benchmarks.packing import IM2REC_DEFAULT
from benchmarks.setting import Setting, aws_list, companions, recpack
from benchmarks.store import certificate

PARTS = 50
"""Of 16 MiB: 839 MB, about the size of the devkit's images."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1",
}  # fmt: skip

UPLOAD = (
    "import boto3, sys; s3 = boto3.client('s3', endpoint_url=sys.argv[1])\n"
    "for name in sys.argv[2:]: s3.upload_file(name, 'bucket', name.rpartition('/')[2])"
)


@contextmanager
def store(*arguments: str) -> Iterator[str]:
    """Start a server that drops what it gets; yields its URL."""
    line = [sys.executable, "-m", "benchmarks.store", *arguments]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()


def send(*arguments: object) -> Work:
    """See ``benchmarks.send``; its seconds are without the start of Python."""
    return reporting_command(sys.executable, "-m", "benchmarks.send", *arguments)


def tables(setting: Setting) -> Iterator[Table]:
    """Tables: sending by http, by TLS, over slow connections; the whole job."""
    os.environ |= CREDENTIALS
    folder = setting.memory
    certificate(folder / "tls")
    os.environ["AWS_CA_BUNDLE"] = str(folder / "tls" / "cert.pem")
    file = folder / "upload.rec"
    file.write_bytes(bytes(PARTS << 24))
    with ExitStack() as stack:
        plain = stack.enter_context(store())
        tls = stack.enter_context(store("--tls", str(folder / "tls")))
        slow = stack.enter_context(store("--rate", "90"))
        for name, url in (("http", plain), ("TLS", tls)):
            works = {
                "recpack, 4 uploads": send("recpack", url, PARTS, 4),
                "recpack, 16 uploads": send("recpack", url, PARTS, 16),
                "upload_file": send("upload_file", url, PARTS, 0, file),
                "upload_file, 2 threads, 16 MiB parts": send("upload_file", url, PARTS, 2, file),
                "raw sockets, 4": send("raw", url, PARTS, 4),
            }
            claims = [
                Claim(f"sending alone over {name}, against upload_file", ["upload_file"],
                      ["recpack, 4 uploads"], 3 if name == "http" else 2),
                Claim(f"the same over {name}, upload_file tuned for this machine",
                      ["upload_file, 2 threads, 16 MiB parts"], ["recpack, 4 uploads"]),
                Claim(f"raw sockets' time over {name}, against recpack's", ["raw sockets, 4"],
                      ["recpack, 4 uploads"], 0.8 if name == "TLS" else None),
            ]  # fmt: skip
            yield Table(f"sending 839 MB, {name}", works, claims)
        works = {
            "recpack, 16 uploads": send("recpack", slow, PARTS, 16),
            "raw sockets, 16": send("raw", slow, PARTS, 16),
            "upload_file": send("upload_file", slow, PARTS, 0, file),
        }
        claim = Claim("raw sockets' time at 90 MB/s a connection, against recpack's",
                      ["raw sockets, 16"], ["recpack, 16 uploads"], 0.9)  # fmt: skip
        yield Table("sending 839 MB, 90 MB/s a connection", works, [claim])
        yield _whole_job(setting, plain)


def _whole_job(setting: Setting, url: str) -> Table:
    devkit = setting.devkit(setting.images)
    rows = setting.rows(devkit)
    aws_rows = setting.memory / "job-aws.lst"
    uploads = [rows.with_suffix(suffix) for suffix in (".rec", ".idx", ".lst")]
    out = setting.memory / "out.rec"
    convert = "recpack convert s3://"
    works = {
        convert: commands(
            recpack("convert", devkit, "s3://bucket/p/train.rec", "--endpoint-url", url,
                    "--overwrite", "--quiet")
        ),
        "recpack convert to memory": commands(
            recpack("convert", devkit, out, "--quiet"), fresh=companions(out)
        ),
        "recpack, sending alone": send("recpack", url, PARTS, 16),
        "AWS list": commands(aws_list(devkit, aws_rows), fresh=[aws_rows]),
        "im2rec --pass-through": commands(
            setting.im2rec(rows, devkit, "--pass-through"), fresh=companions(rows)[:2]
        ),
        IM2REC_DEFAULT: commands(
            setting.im2rec(rows, devkit, "--num-thread", 4), fresh=companions(rows)[:2]
        ),
        "upload_file of the three": commands(
            [sys.executable, "-c", UPLOAD, url, *uploads]
        ),
    }  # fmt: skip
    claims = [
        Claim("convert s3:// against the AWS way (list, im2rec as its sample runs it, upload_file)",
              ["AWS list", IM2REC_DEFAULT, "upload_file of the three"], [convert], 4),
        Claim("the same, im2rec at its best", [
              "AWS list", "im2rec --pass-through", "upload_file of the three"], [convert], 4),
        Claim("convert s3:// against convert to memory", [convert],
              ["recpack convert to memory"], most=1.25),
    ]  # fmt: skip
    return Table(f"the whole job into S3, {setting.images:,} images, http", works, claims)
