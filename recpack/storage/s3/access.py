"""Settings: how S3 is reached."""

from __future__ import annotations

from recpack.settings import Settings, option


class Access(Settings):
    """Where the store is, and who pays. Credentials come from boto3's chain only."""

    title = "S3 (credentials come from AWS's usual places)"

    endpoint_url: str | None = option(
        default=None, help="URL of an S3-compatible endpoint", metavar="URL"
    )
    requester_pays: bool = option(
        default=False, help="requester-pays buckets: you pay for the requests"
    )
