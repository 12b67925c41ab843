"""A strict and hostile S3 server: it enforces the rules of multipart uploads and of checksums, and
does whatever harm a test asks for.

``fault(request)`` is called before a request is answered, and may return the name of a harm:

    "503" …       that status, with the code that S3 gives it
    a code        400 with that code (``ExpiredToken``, ``RequestTimeTooSkewed``, …)
    "reset"       the connection is reset in the middle of the body
    "lost"        the request is done, and the connection closed without an answer
    "damage"      a byte of the body changes on the way
    "lie"         the answer's ETag is another one
    "200"         an error behind status 200, as ``complete`` may answer
    "half"        the answer breaks off in its middle
    "flip"        a byte of the answer changes on the way
    "+" …         the request is done first, and then meets the harm behind the sign: ``+503``;
                  a lone "+": it is done twice
    a number      the answer waits for so many seconds
    a function    is called when the request is done, before it is answered
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from lxml import etree

from recpack.storage.checksums import Checksum

STATUSES = {
    400: "InvalidRequest", 403: "AccessDenied", 404: "NoSuchKey", 409: "ConditionalRequestConflict",
    412: "PreconditionFailed", 416: "InvalidRange", 429: "TooManyRequests", 500: "InternalError",
    501: "NotImplemented", 502: "BadGateway", 503: "SlowDown", 504: "GatewayTimeout",
}  # fmt: skip
NAMES = {Checksum.CRC32: "CRC32", Checksum.CRC64NVME: "CRC64NVME"}
NOW = "2026-01-01T00:00:00.000Z"
MIN_PART = 5 << 20


Harm = str | float | Callable[[], object] | None


@dataclass(frozen=True)
class Request:
    """What a fault may look at. ``name`` as boto3 has it; ``count``: of this name, from 1."""

    name: str
    key: str
    number: int
    count: int
    headers: dict[str, str]


@dataclass
class Blob:
    data: bytes
    etag: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Pending:
    key: str
    checksum: str
    headers: dict[str, str]
    parts: dict[int, Blob] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, status: int, code: str = "") -> None:
        super().__init__(code)
        self.status, self.code = status, code or STATUSES[status]


Answer = tuple[int, dict[str, str], bytes]


class S3Server:
    """One bucket, ``bucket``; ``keeps_checksums`` False forgets and refuses them, as some do."""

    def __init__(self, *, keeps_checksums: bool = True) -> None:
        self.objects: dict[str, Blob] = {}
        self.uploads: dict[str, Pending] = {}
        self.calls: Counter[str] = Counter()
        self.requests: list[Request] = []
        self.fault: Callable[[Request], Harm] = lambda _: None
        self.keeps_checksums = keeps_checksums
        self.min_part = MIN_PART
        self.region = "us-east-1"
        self.most_at_once = 0
        self._at_once = 0
        self._made = 0
        self._lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"server_": self})
        self._http = _Http(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def settle(self) -> None:
        """Wait until every request of a process that has ended is done: those that were on their
        way too, so this one comes behind them."""
        with socket.create_connection(self._http.server_address[:2]) as last:
            last.sendall(b"HEAD /bucket HTTP/1.0\r\n\r\n")
            last.recv(1 << 10)
        while self._http.connections:
            time.sleep(0.001)

    def rec(self, key: str) -> bytes:
        return self.objects[key].data

    def together(self, count: int, seconds: float) -> Callable[[Request], float | None]:
        """A fault: parts wait until so many have been under way at once, then for ``seconds``."""

        def fault(request: Request) -> float | None:
            if request.name != "upload_part":
                return None
            give_up = time.monotonic() + 20
            while self.most_at_once < count and time.monotonic() < give_up:
                time.sleep(0.01)
            return seconds

        return fault

    @contextmanager
    def counted(self, name: str, key: str, number: int, headers: dict[str, str]) -> Iterator[Any]:
        with self._lock:
            self.calls[name] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            request = Request(name, key, number, self.calls[name], headers)
            self.requests.append(request)
        try:
            yield self.fault(request)
        finally:
            with self._lock:
                self._at_once -= 1

    def answer(
        self, name: str, key: str, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> Answer:
        with self._lock:
            handler: Callable[..., Answer] = getattr(self, f"_{name}")
            return handler(key=key, query=query, headers=headers, body=body)

    def _head_bucket(self, **_: Any) -> Answer:
        return 200, {"x-amz-bucket-region": self.region}, b""

    def _head_object(self, *, key: str, headers: dict[str, str], **_: Any) -> Answer:
        blob = self._blob(key)
        if headers.get("x-amz-checksum-mode") != "ENABLED":
            return 200, {"ETag": f'"{blob.etag}"', "Content-Length": str(len(blob.data))}, b""
        return 200, {"ETag": f'"{blob.etag}"', "Content-Length": str(len(blob.data)),
                     **blob.headers}, b""  # fmt: skip

    def _get_object(self, *, key: str, headers: dict[str, str], **_: Any) -> Answer:
        blob = self._blob(key)
        tag = f'"{blob.etag}"'
        if headers.get("if-match", tag) != tag:
            raise Refused(412)
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
        if not found:
            return 200, {"ETag": tag}, blob.data
        start, stop = int(found[1]), min(int(found[2]) + 1, len(blob.data))
        if start >= len(blob.data):
            raise Refused(416)
        where = f"bytes {start}-{stop - 1}/{len(blob.data)}"
        return 206, {"ETag": tag, "Content-Range": where}, blob.data[start:stop]

    def _put_object(self, *, key: str, headers: dict[str, str], body: bytes, **_: Any) -> Answer:
        if headers.get("if-none-match") == "*" and key in self.objects:
            raise Refused(412)
        found = self._checked(headers, body)
        self.objects[key] = Blob(body, hashlib.md5(body).hexdigest(), found)
        return 200, {"ETag": f'"{self.objects[key].etag}"'}, b""

    def _delete_object(self, *, key: str, **_: Any) -> Answer:
        self.objects.pop(key, None)
        return 204, {}, b""

    def _list_objects_v2(self, *, query: dict[str, str], **_: Any) -> Answer:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        entries: dict[str, str] = {}
        for key, blob in sorted(self.objects.items()):
            rest = key[len(prefix) :]
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folder = prefix + rest.split(delimiter)[0] + delimiter
                entries[folder] = (
                    f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
                )
            else:
                entries[key] = (
                    f"<Contents><Key>{escape(key)}</Key><Size>{len(blob.data)}</Size>"
                    f"<ETag>&quot;{blob.etag}&quot;</ETag></Contents>"
                )
        names = sorted(entries)
        start = int(query.get("continuation-token", "0"))
        page, more = names[start : start + 50], len(names) > start + 50
        text = "".join(entries[name] for name in page)
        if more:
            text += f"<NextContinuationToken>{start + 50}</NextContinuationToken>"
        return self._xml(
            "ListBucketResult", f"<IsTruncated>{str(more).lower()}</IsTruncated>{text}"
        )

    def _create_multipart_upload(self, *, key: str, headers: dict[str, str], **_: Any) -> Answer:
        algorithm = headers.get("x-amz-checksum-algorithm", "")
        if algorithm and not self.keeps_checksums:
            raise Refused(501)
        self._made += 1
        upload_id = f"upload-{self._made}"
        self.uploads[upload_id] = Pending(key, algorithm, headers)
        return self._xml("InitiateMultipartUploadResult", f"<UploadId>{upload_id}</UploadId>")

    def _upload_part(
        self, *, query: dict[str, str], headers: dict[str, str], body: bytes, **_: Any
    ) -> Answer:
        upload = self._pending(query)
        number = int(query["partNumber"])
        if not 1 <= number <= 10_000:
            raise Refused(400, "InvalidArgument")
        found = self._checked(headers, body)
        blob = Blob(body, hashlib.md5(body).hexdigest(), found)
        upload.parts[number] = blob
        return 200, {"ETag": f'"{blob.etag}"', **found}, b""

    def _list_parts(self, *, query: dict[str, str], **_: Any) -> Answer:
        upload = self._pending(query)
        after = int(query.get("part-number-marker", "0"))
        numbers = sorted(number for number in upload.parts if number > after)
        items = []
        for number in numbers[:3]:  # short pages, so that every test turns them
            blob = upload.parts[number]
            sums = "".join(
                f"<Checksum{name}>{blob.headers[f'x-amz-checksum-{name.lower()}']}</Checksum{name}>"
                for name in NAMES.values()
                if f"x-amz-checksum-{name.lower()}" in blob.headers
            )
            items.append(
                f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{blob.etag}&quot;</ETag>"
                f"<Size>{len(blob.data)}</Size>{sums}</Part>"
            )
        more = str(len(numbers) > 3).lower()
        return self._xml("ListPartsResult", f"<IsTruncated>{more}</IsTruncated>{''.join(items)}")

    def _list_multipart_uploads(self, *, query: dict[str, str], **_: Any) -> Answer:
        items = "".join(
            f"<Upload><Key>{escape(upload.key)}</Key><UploadId>{id_}</UploadId>"
            f"<Initiated>{NOW}</Initiated></Upload>"
            for id_, upload in self.uploads.items()
            if upload.key.startswith(query.get("prefix", ""))
        )
        return self._xml("ListMultipartUploadsResult", f"<IsTruncated>false</IsTruncated>{items}")

    def _abort_multipart_upload(self, *, query: dict[str, str], **_: Any) -> Answer:
        self._pending(query)
        del self.uploads[query["uploadId"]]
        return 204, {}, b""

    def _complete_multipart_upload(
        self, *, key: str, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> Answer:
        upload = self._pending(query)
        if headers.get("if-none-match") == "*" and key in self.objects:
            raise Refused(412)
        try:
            parts = etree.fromstring(body)
        except etree.XMLSyntaxError:
            raise Refused(400, "MalformedXML") from None
        listed = [
            {etree.QName(value).localname: value.text or "" for value in part} for part in parts
        ]
        numbers = [int(part["PartNumber"]) for part in listed]
        if numbers != sorted(set(numbers)) or not numbers:
            raise Refused(400, "InvalidPartOrder")
        for part in listed:
            blob = upload.parts.get(int(part["PartNumber"]))
            if blob is None or part["ETag"].strip('"') != blob.etag:
                raise Refused(400, "InvalidPart")
            name = f"Checksum{upload.checksum}"
            if name in part and part[name] != blob.headers[f"x-amz-checksum-{name[8:].lower()}"]:
                raise Refused(400, "InvalidPart")
            if len(blob.data) < self.min_part and part is not listed[-1]:
                raise Refused(400, "EntityTooSmall")
        data = b"".join(upload.parts[number].data for number in numbers)
        if int(headers.get("x-amz-mp-object-size", len(data))) != len(data):
            raise Refused(400, "InvalidRequest")
        found = self._checked(headers, data)
        if found:
            found["x-amz-checksum-type"] = headers["x-amz-checksum-type"]
        md5s = b"".join(bytes.fromhex(upload.parts[number].etag) for number in numbers)
        etag = f"{hashlib.md5(md5s).hexdigest()}-{len(numbers)}"
        self.objects[key] = Blob(data, etag, found)
        del self.uploads[query["uploadId"]]
        return self._xml("CompleteMultipartUploadResult", f"<ETag>&quot;{etag}&quot;</ETag>")

    def _blob(self, key: str) -> Blob:
        if key not in self.objects:
            raise Refused(404)
        return self.objects[key]

    def _pending(self, query: dict[str, str]) -> Pending:
        if query["uploadId"] not in self.uploads:
            raise Refused(404, "NoSuchUpload")
        return self.uploads[query["uploadId"]]

    def _checked(self, headers: dict[str, str], body: bytes) -> dict[str, str]:
        """The checksum headers, if they are those of the body."""
        found = {}
        for checksum, name in NAMES.items():
            header = f"x-amz-checksum-{name.lower()}"
            if header in headers:
                if headers[header] != checksum.base64(checksum.of(body)):
                    raise Refused(400, "BadDigest")
                found[header] = headers[header]
        md5 = headers.get("content-md5")
        if md5 and md5 != base64.b64encode(hashlib.md5(body).digest()).decode():
            raise Refused(400, "BadDigest")
        return found if self.keeps_checksums else {}

    @staticmethod
    def _xml(name: str, content: str) -> Answer:
        return 200, {}, f"<?xml version='1.0'?><{name}>{content}</{name}>".encode()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    connections = 0
    _lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self.connections += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._lock:
            self.connections -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that was killed is no news
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server_: S3Server

    def log_message(self, *_: Any) -> None:
        pass

    def _respond(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        name = operation(self.command, key, query)
        number = int(query.get("partNumber", "0"))
        with self.server_.counted(name, key, number, headers) as harm:
            length = int(headers.get("content-length", "0"))
            if harm == "reset":
                self.rfile.read(length // 2)
                self._reset()
                return
            body = self.rfile.read(length)
            if harm == "damage" and body:
                body = body[:-1] + bytes([body[-1] ^ 1])
            if isinstance(harm, (int, float)):
                time.sleep(harm)
            try:
                if isinstance(harm, str) and harm.startswith("+"):
                    harm = harm[1:]
                    with suppress(Refused):
                        self.server_.answer(name, key, query, headers, body)
                if isinstance(harm, str) and harm.isdigit() and harm != "200":
                    raise Refused(int(harm))
                if isinstance(harm, str) and harm[:1].isupper():
                    raise Refused(400, harm)
                if bucket != "bucket":
                    raise Refused(404 if bucket != "denied" else 403, "NoSuchBucket" if bucket !=
                                  "denied" else "AccessDenied")  # fmt: skip
                if harm == "200":
                    raise Refused(200, "InternalError")
                status, found, data = self.server_.answer(name, key, query, headers, body)
            except Refused as refused:
                status, found = refused.status, {}
                text = f"<Error><Code>{refused.code}</Code><Message>as asked</Message></Error>"
                data = text.encode()
            if harm == "lost":
                self._reset()
                return
            if harm == "lie":
                found["ETag"] = f'"{"0" * 32}"'
            if harm == "flip" and data:
                data = data[:-1] + bytes([data[-1] ^ 1])
            if callable(harm):
                harm()
            if harm == "half":
                found.setdefault("Content-Length", str(len(data)))
                data = data[: len(data) // 2]
            self._send(status, found, data)
            if harm == "half":
                self._reset()

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _send(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response(status)
        headers.setdefault("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        headers.setdefault("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _respond


def operation(method: str, key: str, query: dict[str, str]) -> str:
    """A request's name, as boto3 has it."""
    if method == "POST":
        return "create_multipart_upload" if "uploads" in query else "complete_multipart_upload"
    if method == "GET" and not key:
        return "list_multipart_uploads" if "uploads" in query else "list_objects_v2"
    if method == "GET":
        return "list_parts" if "uploadId" in query else "get_object"
    if method == "PUT":
        return "upload_part" if "uploadId" in query else "put_object"
    if method == "DELETE":
        return "abort_multipart_upload" if "uploadId" in query else "delete_object"
    return "head_object" if key else "head_bucket"
