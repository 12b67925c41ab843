"""The stand-in of AWS by its HTTP: requests → its operations, its answers → responses; and a boto3
session that does this without a network, for thousands of runs."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from tests.support.aws import REGION, Aws, Refusal

Request = dict[str, Any]
_HEADERS = "X-Amzn-SageMaker-"


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def respond(aws: Aws, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
    """Raises ConnectionError for an answer that is lost."""
    headers = {name.lower(): value for name, value in headers.items()}
    operation, request, style = _read(method, url, headers, body)
    try:
        answer = aws.serve(operation, request)
    except Refusal as refusal:
        return _refused(refusal, style, empty=method == "HEAD")
    if style == "s3":
        sent = b"" if method == "HEAD" else answer.get("body", b"")
        status = 206 if "Content-Range" in answer.get("headers", {}) else 200
        return Response(status, answer.get("headers", {}), sent)
    if "body" in answer:
        return Response(200, {"Content-Type": "application/json"}, answer["body"])
    if "headers" in answer:
        return Response(202, answer["headers"], b"{}")
    if "xml" in answer:
        text = (
            f"<{operation}Response><{operation}Result>{answer['xml']}"
            f"</{operation}Result></{operation}Response>"
        )
        return Response(200, {"Content-Type": "text/xml"}, text.encode())
    sent = json.dumps(answer).encode()
    return Response(200, {"Content-Type": "application/x-amz-json-1.1"}, sent)


def _read(
    method: str, url: str, headers: Mapping[str, str], body: bytes
) -> tuple[str, Request, str]:
    """(operation, its request, the style of its answer)."""
    parts = urlsplit(url)
    if target := headers.get("x-amz-target", "").partition(".")[2]:
        return target, json.loads(body or b"{}"), "json"
    if invoked := re.fullmatch(r"/endpoints/([^/]+)/(async-)?invocations", parts.path):
        request: Request = {"EndpointName": unquote(invoked[1]), "Body": body}
        request["ContentType"] = headers.get("content-type")
        if invoked[2]:
            request["InputLocation"] = headers[f"{_HEADERS}inputlocation".lower()]
        return f"InvokeEndpoint{'Async' if invoked[2] else ''}", request, "json"
    if method == "POST" and parts.path == "/":
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        return form["Action"], form, "xml"
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    verb = {"PUT": "Put", "HEAD": "Head", "DELETE": "Delete", "GET": "Get"}[method]
    operation = f"{verb}Object" if key else f"{verb}Bucket"
    if "list-type" in query:
        operation = "ListObjectsV2"
    asked = {"Range": headers.get("range"), "IfNoneMatch": headers.get("if-none-match")}
    request = {"Bucket": bucket, "Key": key, "Body": body} | asked | query
    return operation, request, "s3"


def _refused(refusal: Refusal, style: str, *, empty: bool) -> Response:
    data = {"__type": refusal.code, "message": refusal.message, "Message": refusal.message}
    code, words = escape(refusal.code), escape(refusal.message)
    text = f"<Error><Code>{code}</Code><Message>{words}</Message></Error>"
    if style == "json":
        headers = {"x-amzn-ErrorType": refusal.code, "Content-Type": "application/x-amz-json-1.1"}
        return Response(refusal.status, headers, json.dumps(data).encode())
    if style == "xml":
        text = f"<ErrorResponse>{text}</ErrorResponse>"
    return Response(refusal.status, {"Content-Type": "text/xml"}, b"" if empty else text.encode())


class _Raw(io.BytesIO):
    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self.read()


class Direct:
    """A boto3 session; ``attempts`` as botocore counts them. ``aws`` can be replaced."""

    region_name = REGION

    def __init__(self, aws: Aws, attempts: int = 1) -> None:
        self.aws = aws
        self._config = Config(
            retries={"total_max_attempts": attempts}, s3={"addressing_style": "path"}
        )
        self._session = boto3.Session("x", "x", region_name=self.region_name)
        self._clients: dict[str, Any] = {}

    def client(self, name: str, **_: object) -> Any:
        if name not in self._clients:
            made = self._session.client(name, endpoint_url="http://aws.test", config=self._config)
            made.meta.events.register("before-send", self._send)
            self._clients[name] = made
        return self._clients[name]

    def _send(self, request: Any, **_: object) -> AWSResponse:
        headers = {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in request.headers.items()
        }
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        body = body if isinstance(body, bytes) else body.read()
        try:
            found = respond(self.aws, request.method, request.url, headers, body)
        except ConnectionError as error:
            raise ConnectionClosedError(endpoint_url=request.url) from error
        headers = {"Content-Length": str(len(found.body))} | found.headers
        return AWSResponse(request.url, found.status, headers, _Raw(found.body))
