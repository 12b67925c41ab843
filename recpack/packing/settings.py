"""What the second pass is told."""

from __future__ import annotations

from recpack.data.policy import Policy
from recpack.formats.encoding import Encoding
from recpack.sinks.settings import Output
from recpack.workers.settings import Cluster


class PackSettings(Policy, Encoding, Output, Cluster):
    """How images become records, by whom, and what happens to those that fail."""
