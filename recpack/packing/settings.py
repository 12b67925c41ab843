"""What the second pass is told."""

from __future__ import annotations

from dataclasses import dataclass

from recpack.data.policy import Policy
from recpack.formats.encoding import Encoding
from recpack.sinks.settings import Output
from recpack.workers.settings import Cluster


@dataclass(frozen=True, kw_only=True)
class PackSettings(Policy, Encoding, Output, Cluster):
    """How images become records, by whom, and what happens to those that fail."""
