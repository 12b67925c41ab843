"""The settings of the second pass."""

from __future__ import annotations

from recpack.data.policy import Policy
from recpack.formats.encoding import Encoding
from recpack.sinks.settings import Output
from recpack.workers.settings import Cluster


class PackSettings(Policy, Encoding, Output, Cluster):
    """Encoding of the images, output, workers, and the policy for images that fail."""
