"""AWS services that answer as told, for what moto does not do: botocore's own stubber, which holds
every request against the service's model."""

from __future__ import annotations

from typing import Any

import botocore.session
from botocore.stub import Stubber

from train.service import Service


class Stubs:
    """A boto3 session whose clients answer what was planned, in that order."""

    region_name = "us-east-1"

    def __init__(self) -> None:
        self._stubbers: dict[str, Stubber] = {}

    def stubber(self, name: str) -> Stubber:
        if name not in self._stubbers:
            session = botocore.session.Session()
            session.set_credentials("x", "x")
            client = session.create_client(name, region_name=self.region_name)
            self._stubbers[name] = Stubber(client)
            self._stubbers[name].activate()
        return self._stubbers[name]

    def client(self, name: str, region_name: str, endpoint_url: str | None = None) -> Any:
        assert (region_name, endpoint_url) == (self.region_name, None)
        return self.stubber(name).client

    def answer(self, name: str, operation: str, answer: Any = None, **expected: Any) -> None:
        """Plan an answer to an operation (by the client's name of it)."""
        self.stubber(name).add_response(operation, answer or {}, expected or None)

    def refuse(
        self, name: str, operation: str, code: str, message: str = "", status: int = 400
    ) -> None:
        """Plan an error."""
        self.stubber(name).add_client_error(operation, code, message, status)

    def done(self) -> None:
        """All that was planned was asked for."""
        for stubber in self._stubbers.values():
            stubber.assert_no_pending_responses()

    @property
    def service(self) -> Service:
        return Service(session=self)
