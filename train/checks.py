"""Checks of a job's channels together, and with its machine, before anything is paid for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace

from .channels import Channel
from .classification import ClassHyperparameters
from .errors import SpecError
from .kinds import MEASURES, Kind
from .machines import GPUS, disk_gb
from .parameters import Parameters
from .spec import Data, TrainingSpec


def warn_of_same(channels: Mapping[str, Channel]) -> None:
    """Warn where both channels have the same images."""
    if channels["train"].checksum == channels["validation"].checksum is not None:
        measure = MEASURES[channels["train"].kind]
        warnings.warn(
            f"validation: these are the images of train, so {measure} tells nothing about other "
            "images",
            stacklevel=4,
        )


def demand_one_file(channels: Mapping[str, Channel]) -> None:
    """Raise SpecError for a set of shards: SageMaker's algorithms take one ``.rec`` per channel
    (AWS developer guide, "Train with the RecordIO Format")."""
    for name, channel in channels.items():
        if shards := channel.manifest.shards:
            folder, _, file = channel.rec.rpartition("/")
            own = ", or add --algorithm pytorch" if channel.kind == "detection" else ""
            raise SpecError(
                f"{name}: {channel.rec} is a set of {len(shards)} shards, and SageMaker's "
                f"algorithm takes one .rec; join them with recpack merge {folder}-merged/{file} "
                f"{channel.rec}, and give that{own}"
            )


def kind_of_channels(channels: Mapping[str, Channel]) -> Kind:
    """The kind of model that learns the channels. Raises SpecError when they have two."""
    one, other = channels["train"], channels["validation"]
    if one.kind != other.kind or (
        one.kind == "classification" and one.manifest.label_width != other.manifest.label_width
    ):
        raise SpecError(
            f"train: {one.rec} has {_labels(one)}, and validation: {other.rec} {_labels(other)}; "
            "pack both with the same kind of labels"
        )
    return one.kind


def _labels(channel: Channel) -> str:
    if channel.kind == "detection":
        return "boxes"
    return "one class per image" if channel.manifest.label_width == 1 else "a number per class"


def demand_batch(spec: TrainingSpec, samples: int) -> None:
    """Raise SpecError when machines that train in step take more images than there are, or the GPUs
    of one, which split a batch, are more than its images."""
    learning = spec.hyperparameters
    gpus = GPUS.get(spec.instance_type, 1)
    if spec.algorithm == "built-in" and learning.mini_batch_size < gpus:
        raise SpecError(
            f"mini_batch_size: {learning.mini_batch_size}, but {spec.instance_type} splits a batch "
            f"among {gpus} GPUs; choose {gpus} or more"
        )
    batch = learning.mini_batch_size * spec.instance_count
    if learning.kv_store == "dist_sync" and batch > samples:
        raise SpecError(
            f"mini_batch_size: {learning.mini_batch_size} on each of {spec.instance_count} "
            f"machines, but train has {samples} images; choose fewer"
        )


def warn_of_classes(learning: Parameters, channels: Mapping[str, Channel]) -> None:
    """Warn of what can fail in image classification, and nobody can check here."""
    if not isinstance(learning, ClassHyperparameters):
        return
    least = max(learning.sides)
    packed = [channel.manifest.options.get("resize") or 0 for channel in channels.values()]
    if learning.resize is None and min(packed) < least:
        height, width = learning.sides
        warnings.warn(
            f"image_shape: the training fails at an image of less than {width} x {height} pixels, "
            f"and the manifest does not tell sizes; with resize={least} there is none",
            stacklevel=4,
        )
    if learning.multi_label:
        warnings.warn(
            "multi_label: AWS describes it for lists and augmented manifests, and says nothing of "
            "a .rec, whose labels are the same: try it with epochs=1 first",
            stacklevel=4,
        )


def data_of(channels: Mapping[str, Channel]) -> Data:
    """The format of the channels. Raises SpecError when they have two."""
    one, other = (channel.data for channel in channels.values())
    if one.kind != other.kind or one.attributes != other.attributes:
        raise SpecError("train and validation have two formats; write both in one")
    if one.content_type == other.content_type:
        return one
    return replace(one, content_type="application/x-image")


def demand_room(spec: TrainingSpec, channels: Mapping[str, Channel]) -> None:
    """Raise SpecError when the machine's disk is smaller than the data that it is to hold."""
    room = disk_gb(spec.instance_type, spec.volume_gb)
    need = sum(channel.manifest.rec.bytes or 0 for channel in channels.values()) / 1e9
    if spec.input_mode == "File" and need > room:
        raise SpecError(
            f"volume_gb: the data has {need:,.0f} GB, and the disk of {spec.instance_type} "
            f"{room:,}; give --input-mode Pipe"
            + ("" if room != spec.volume_gb else f", or --volume-gb {need * 1.2 + 10:.0f}")
        )
