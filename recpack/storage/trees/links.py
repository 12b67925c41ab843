"""Settings: whether links can lead out of a data set."""

from __future__ import annotations

from recpack.settings import Settings, option


class Links(Settings):
    """What symbolic links of a data set are followed."""

    title = "what to read"

    follow_links: bool = option(
        default=False, help="also read symbolic links that lead out of the data set"
    )
