"""``python -m benchmarks.store``: an S3 server that drops the records that it gets.

    --tls FOLDER    over TLS, with the certificate in FOLDER
    --rate MB       MB/s per connection, and 20 ms more for each request
    --processes N   so many processes take the connections

Prints its URL and serves until standard input ends. It answers the requests of a multipart upload,
of which it keeps the parts' sizes and the object's checksum, and keeps the small objects beside it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import MutableMapping
from pathlib import Path

_CHUNK = 1 << 20
_LATENCY = 0.02
_ETAG = '"' + "0" * 32 + '"'
_KEPT = (".idx", ".lst", ".json")

Head = dict[str, str]


class Store:
    """``objects``, headers and bytes, and ``sizes``, of parts, can be shared by processes."""

    def __init__(
        self,
        rate: float | None,
        objects: MutableMapping[str, tuple[Head, bytes]],
        sizes: MutableMapping[str, int],
    ) -> None:
        self.rate = rate
        self.objects = objects
        self.sizes = sizes

    def serve(self, connection: socket.socket) -> None:
        """Serve one connection until its end."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        rest = bytearray()
        while True:
            while (end := rest.find(b"\r\n\r\n")) < 0:
                data = connection.recv(65536)
                if not data:
                    return
                rest += data
            first, *lines = bytes(rest[:end]).decode().split("\r\n")
            del rest[: end + 4]
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            if "100-continue" in headers.get("expect", ""):
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            length = int(headers.get("content-length", 0))
            chunked = "chunked" in headers.get("transfer-encoding", "")
            start = time.monotonic()
            method, target, _ = first.split(" ")
            body = b""
            if target.endswith(_KEPT) and not chunked:
                while len(rest) < length and (data := connection.recv(_CHUNK)):
                    rest += data
                body = bytes(rest[:length])
            self._receive(connection, rest, length, chunked)
            if self.rate is not None and length > _CHUNK:
                due = start + length / self.rate + _LATENCY
                time.sleep(max(due - time.monotonic(), 0))
            connection.sendall(self._answer(method, target, headers, length, body))

    def _receive(
        self, connection: socket.socket, rest: bytearray, length: int, chunked: bool
    ) -> None:
        """Read a body and drop it."""
        if chunked:
            size = 1
            while size:
                while (end := rest.find(b"\r\n")) < 0:
                    rest += connection.recv(65536)
                size = int(rest[:end], 16)
                del rest[: end + 2]
                self._skip(connection, rest, size + 2)
            return
        self._skip(connection, rest, length)

    @staticmethod
    def _skip(connection: socket.socket, rest: bytearray, length: int) -> None:
        left = max(length - len(rest), 0)
        del rest[:length]
        room = bytearray(_CHUNK)
        if isinstance(connection, ssl.SSLSocket):
            read = connection._sslobj.read  # type: ignore[attr-defined]  # one layer less per TLS record
            while left > 0 and (got := read(min(left, 16384), room)):
                left -= got
        else:
            # the kernel can drop unencrypted bytes without copying them
            receive = connection.recv_into
            while left > 0 and (got := receive(room, min(left, _CHUNK), socket.MSG_TRUNC)):
                left -= got
        if left:
            raise ConnectionError("the client is gone")

    def _answer(self, method: str, target: str, headers: Head, length: int, body: bytes) -> bytes:
        path, _, query = target.partition("?")
        found: Head = {}
        content = b""
        status = "200 OK"
        if method == "PUT":
            found["ETag"] = _ETAG
            if not query:
                self.objects[path] = {}, body
            else:
                self.sizes[target] = length
        elif method == "POST" and "uploads" in query:
            for part in self._parts(path):
                del self.sizes[part]
            content = b"<Begun><UploadId>1</UploadId></Begun>"
        elif method == "POST":
            kept = {name: headers[name] for name in headers if name.startswith("x-amz-checksum")}
            self.objects[path] = kept, b""
            content = b"<Done><ETag>&quot;0-1&quot;</ETag></Done>"
        elif method == "DELETE":
            self.objects.pop(path, None)
            status = "204 No Content"
        elif path.count("/") > 1 and path not in self.objects:
            status = "404 Not Found"
            content = b"<Error><Code>NoSuchKey</Code></Error>"
        elif path in self.objects:
            kept, content = self.objects[path]
            found = kept | {"ETag": '"0-1"'}
            if "range" in headers:
                start, end = map(int, headers["range"].removeprefix("bytes=").split("-"))
                status = "206 Partial Content"
                found["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
                content = content[start : end + 1]
        size = len(content)
        if method == "HEAD" and not content:
            size = sum(self._parts(path).values())
        found |= {"Content-Length": str(size), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in found.items())
        answer = f"HTTP/1.1 {status}\r\n{lines}\r\n".encode()
        return answer if method == "HEAD" else answer + content

    def _parts(self, path: str) -> dict[str, int]:
        return {part: size for part, size in self.sizes.items() if part.startswith(path + "?")}


def certificate(folder: Path) -> None:
    """Write a self-signed certificate for 127.0.0.1 and its key below ``folder``."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime.now(datetime.UTC)
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=30))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tls", type=Path)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args()
    shared = multiprocessing.get_context("fork").Manager() if args.processes > 1 else None
    memory = (shared.dict(), shared.dict()) if shared is not None else ({}, {})
    store = Store(args.rate and args.rate * 1e6, *memory)
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    context = None
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.tls / "cert.pem", args.tls / "key.pem")

    def serve(connection: socket.socket) -> None:
        try:
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            store.serve(connection)
        except OSError:
            pass  # the client is gone
        finally:
            connection.close()

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    # before any thread; all end with standard input; a child forks no more
    first = all(os.fork() for _ in range(args.processes - 1))
    threading.Thread(target=accept, daemon=True).start()
    if first:
        scheme = "https" if args.tls else "http"
        print(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    sys.stdin.read()
    if first and shared is not None:
        shared.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
