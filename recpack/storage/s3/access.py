"""Settings: how S3 is reached."""

from __future__ import annotations

from collections.abc import Iterator

from recpack.display import has_password
from recpack.settings import Settings, option

NO_PASSWORD = (
    "endpoint_url: has a user name or a password, which S3 does not take; remove it, and set "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)


class Access(Settings):
    """Where the store is, and who pays. Credentials come from boto3's chain only."""

    title = "S3 (credentials come from AWS's usual places)"

    endpoint_url: str | None = option(
        default=None, help="URL of an S3-compatible endpoint", metavar="URL"
    )
    requester_pays: bool = option(
        default=False, help="requester-pays buckets: you pay for the requests"
    )

    def faults(self) -> Iterator[str]:
        if has_password(self.endpoint_url):
            yield NO_PASSWORD
        elif not (self.endpoint_url or "http://").startswith(("http://", "https://")):
            yield f"endpoint_url: must be http(s)://host:port (got {self.endpoint_url!r})"
