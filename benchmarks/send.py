"""``python -m benchmarks.send METHOD URL PARTS CONNECTIONS [FILE]``: send parts of 16 MiB.

Sends twice and prints the seconds of the second time, and the CPU seconds of this process, as JSON.
``METHOD``:

    raw          HTTP over plain or TLS sockets, nothing else: the floor
    recpack      the upload of ``S3Sink``, with CRC-32, parts ready in memory
    upload_file  ``boto3.client("s3").upload_file`` of FILE with CONNECTIONS threads (0: defaults)
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

PART = 16 << 20


def raw(url: str, parts: int, connections: int) -> Callable[[], None]:
    address = urlsplit(url)
    assert address.hostname is not None
    body = bytearray(PART)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def connect() -> socket.socket:
        connection = socket.create_connection((address.hostname, address.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(connection) if address.scheme == "https" else connection

    pool = [connect() for _ in range(connections)]

    def send(number: int) -> None:
        connection = pool.pop()
        head = (
            f"PUT /bucket/raw?partNumber={number}&uploadId=1 HTTP/1.1\r\nHost: s3\r\n"
            f"Content-Length: {PART}\r\n\r\n"
        )
        connection.sendall(head.encode())
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        pool.append(connection)

    def work() -> None:
        with ThreadPoolExecutor(connections) as threads:
            list(threads.map(send, range(parts)))

    return work


def recpack(url: str, parts: int, connections: int) -> Callable[[], None]:
    from recpack.sinks.s3_writer import PartBuffer, Upload, UploadWriter
    from recpack.storage.checksums import Checksum
    from recpack.storage.s3.client import S3Client
    from recpack.storage.s3.location import Location

    s3 = S3Client(url)
    s3.call("head_bucket", Bucket="bucket")
    location = Location("bucket", "recpack.rec")

    def work() -> None:
        answer = s3.call("create_multipart_upload", Bucket="bucket", Key=location.key)
        upload = Upload(s3, location, answer["UploadId"], Checksum.CRC32, True)
        writer = UploadWriter(upload, connections, 1, lasting=True, resumed=False)
        writer.coordinate()
        for number in range(parts):
            buffer = writer.buffer(PART)
            assert isinstance(buffer, PartBuffer)
            buffer._end = PART  # as if it held records
            writer.write(number, buffer, Checksum.CRC32.of(buffer.view()))
        writer.drain()

    return work


def upload_file(url: str, file: str, connections: int) -> Callable[[], None]:
    import boto3
    from boto3.s3.transfer import TransferConfig

    client = boto3.client("s3", endpoint_url=url)
    client.head_bucket(Bucket="bucket")
    config = TransferConfig()
    if connections:
        config = TransferConfig(multipart_chunksize=PART, max_concurrency=connections)
    return lambda: client.upload_file(file, "bucket", "file.rec", Config=config)


def main() -> None:
    method, url, parts, connections, *file = sys.argv[1:]
    if method == "upload_file":
        work = upload_file(url, file[0], int(connections))
    else:
        work = {"raw": raw, "recpack": recpack}[method](url, int(parts), int(connections))
    work()  # makes connections and allocates memory
    cpu, start = time.process_time(), time.perf_counter()
    work()
    print(json.dumps([time.perf_counter() - start, time.process_time() - cpu]))


if __name__ == "__main__":
    main()
