"""The machines that SageMaker's algorithms train on, their disks and GPUs.

Families: AWS developer guide, "Object Detection Algorithm" and "Image Classification Algorithm",
instance recommendations. Disks and GPUs: the specifications of EC2's instance types.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from .kinds import kind_of_image

TRAINING_TYPE = "ml.g5.xlarge"

DISKS: dict[str, int] = {
    "ml.p2.xlarge": 0, "ml.p2.8xlarge": 0, "ml.p2.16xlarge": 0,
    "ml.p3.2xlarge": 0, "ml.p3.8xlarge": 0, "ml.p3.16xlarge": 0,
    "ml.g4dn.xlarge": 125, "ml.g4dn.2xlarge": 225, "ml.g4dn.4xlarge": 225,
    "ml.g4dn.8xlarge": 900, "ml.g4dn.12xlarge": 900, "ml.g4dn.16xlarge": 900,
    "ml.g5.xlarge": 250, "ml.g5.2xlarge": 450, "ml.g5.4xlarge": 600, "ml.g5.8xlarge": 900,
    "ml.g5.12xlarge": 3800, "ml.g5.16xlarge": 1900, "ml.g5.24xlarge": 3800,
    "ml.g5.48xlarge": 7600,
}  # fmt: skip
"""GB of each type's built-in disk; 0: it gets a volume of the size that the job names."""

GPUS: dict[str, int] = {
    "ml.p2.8xlarge": 8, "ml.p2.16xlarge": 16, "ml.p3.8xlarge": 4, "ml.p3.16xlarge": 8,
    "ml.g4dn.12xlarge": 4, "ml.g5.12xlarge": 4, "ml.g5.24xlarge": 4, "ml.g5.48xlarge": 8,
}  # fmt: skip
"""Of the types that have more than one."""

_GPU = re.compile(r"ml\.[pg]\d")


def has_gpu(instance_type: str) -> bool:
    """Whether a type is of a family with GPUs, by its name."""
    return _GPU.match(instance_type) is not None


def type_fault(instance_type: str, image: str) -> str:
    """What is wrong with a type for a container; empty when nothing is. Only the built-in
    algorithms' types are known."""
    if instance_type in DISKS or (has_gpu(instance_type) and kind_of_image(image) is None):
        return ""
    what = "is not a type that this algorithm trains on (families P2, P3, G4dn, G5)"
    if not has_gpu(instance_type):
        what = "has no GPU, which this algorithm needs"
    near = get_close_matches(instance_type, DISKS, 1, 0.8)
    return f"instance_type: {instance_type} {what}; use {near[0] if near else TRAINING_TYPE}"


def disk_gb(instance_type: str, volume_gb: int) -> int:
    """GB that a machine has for data."""
    return DISKS.get(instance_type) or volume_gb
