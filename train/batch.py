"""Batch jobs: a model's answers to all images below an S3 prefix, without an endpoint."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .asynchronous import patiently, read_object, seen
from .bodies import size_of
from .channels import demand_model, demand_region, demand_url, objects_below, split_url
from .classes import Classification, parse_answer
from .detections import Detections
from .endpoint import artifacts
from .errors import JobError, MissingError, SpecError, UsageError
from .images import inference_image
from .job import POLL_SECONDS, Job, Previous, find_previous
from .making import Made, describe_batch, remove
from .names import demand_name, is_of, part_name, unique_name
from .planning import classes_of
from .request import (
    INFERENCE_TYPE,
    Network,
    Request,
    as_folder,
    model_request,
    transform_request,
)
from .service import Service, find_role

_KINDS = (".jpg", ".jpeg", ".png")
_MB = 1 << 20
_MOST = 100 * _MB
"""Largest image that a batch job can be told to take."""


@dataclass(frozen=True)
class Batch:
    """A batch job by its name. ``images`` and ``output`` are S3 prefixes, ``model`` is the name of
    the model at the service, ``classes`` are the names in the order of their ids."""

    name: str
    model: str
    images: str
    output: str
    classes: Sequence[str]
    service: Service

    def wait(
        self, *, sleep: Callable[[float], None] = time.sleep, poll: float = POLL_SECONDS
    ) -> Batch:
        """Wait until it is done, also while the service throttles or can't be reached for some
        minutes. Raises JobError with the service's reason when it failed or was stopped."""

        def look() -> Request | None:
            return describe_batch(self.name, self.service)

        while True:
            found = seen(lambda: patiently(look, sleep, poll), sleep, poll)
            state = "Deleted" if found is None else found["TransformJobStatus"]
            if state == "Completed":
                return self
            if state not in ("InProgress", "Stopping"):
                reason = (found or {}).get("FailureReason", "the service gives no reason")
                raise JobError(
                    f"{self.name}: {state.lower()}: {reason}; what it has answered is below "
                    f"{self.output}",
                    reason,
                )
            sleep(poll)

    def finish(self, *, sleep: Callable[[float], None] = time.sleep) -> Batch:
        """Wait until it is done, then delete the model that ``transform`` made for it, also when
        it failed. When the waiting is interrupted, the job goes on with its model, and a note of
        the exception says how to come back. Raises JobError when the job failed."""
        failed: JobError | None = None
        try:
            try:
                self.wait(sleep=sleep)
            except JobError as error:
                failed = error
            self.delete_model()
        except BaseException as error:
            error.add_note(
                f"left: batch job {self.name}, model {self.model}; come back with: {self.back()}"
            )
            raise error from failed
        if failed is not None:
            raise failed
        return self

    def back(self) -> str:
        """The command that waits for it, prints what it found, and deletes its model."""
        classes = shlex.quote(",".join(self.classes))
        return self.service.command("results", self.name, "--classes", classes)

    def detections(self) -> Iterator[tuple[str, bytes, Detections]]:
        """For each image its key below ``images``, its bytes and the objects that were found in it;
        see ``answers``. Raises JobError, also for a model of image classification."""
        for name, image, found in self.answers():
            if not isinstance(found, Detections):
                raise JobError(f"{self.name}: its model tells classes, not boxes; read its answers")
            yield name, image, found

    def answers(self) -> Iterator[tuple[str, bytes, Detections | Classification]]:
        """For each image its key below ``images``, its bytes and what was found in it. Raises
        JobError for an image without an answer, or with several."""
        bucket, folder = split_url(self.images)
        place, above = split_url(self.output)
        answers = {one["Key"] for one in objects_below(self.output, self.service)}
        for one in objects_below(self.images, self.service):
            name = one["Key"][len(folder) :]
            if f"{above}{name}.out" not in answers:
                # AWS's own example has another folder than the service makes
                found = [key for key in answers if key.endswith(f"/{name}.out")]
                if len(found) != 1:
                    raise JobError(
                        f"{self.name}: {len(found)} answers for {one['Key']} are below "
                        f"{self.output}; there must be one"
                    )
                above = found[0].removesuffix(f"{name}.out")  # that of all others, too
            image = read_object(f"s3://{bucket}/{one['Key']}", self.service)
            answer = read_object(f"s3://{place}/{above}{name}.out", self.service)
            if image is None or answer is None:
                raise JobError(f"{self.name}: {one['Key']} or its answer was deleted")
            yield name, image, parse_answer(answer, self.classes, *size_of(image))

    def delete_model(self) -> bool:
        """Delete the model at the service if ``transform`` made it for this job; returns whether it
        did. The job itself can't be deleted, and costs nothing when it is done."""
        return is_of(self.model, self.name) and remove("model", self.model, self.service)


def transform(
    model: str | Job,
    images: str,
    output: str,
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    role: str | None = None,
    service: Service | None = None,
    image: str | None = None,
    instance_type: str = INFERENCE_TYPE,
    instance_count: int = 1,
    tags: Mapping[str, str] | None = None,
    network: Network | None = None,
) -> Batch:
    """Start a batch job for all images below the S3 prefix ``images``; it then costs money.
    ``model`` is a job, its name, or a ``model.tar.gz``. The answers are below the prefix
    ``output``, one object per image, with the image's name plus ``.out``.

    ``wait``, ``detections`` and ``delete_model`` of the result do the rest. Raises SpecError before
    anything is made. If the service refuses (JobError), what was made is deleted again.
    """
    service = service or Service()
    if instance_count < 1:
        raise UsageError(f"instance_count: must be at least 1 (got {instance_count})")
    for what, url in (("images", images), ("output", output)):
        demand_url(what, url)
    if name is not None:
        demand_name(name)
    images, output = as_folder(images), as_folder(output)
    found = find_previous(model, service)
    demand_model(found.model, service)
    names = classes_of(found, classes, service)
    most = _demand_images(images, output, service)
    stem = found.model.split("/")[-3] if found.model.count("/") > 3 else "recpack"
    name = unique_name(f"{stem}-batch") if name is None else name
    if describe_batch(name, service) is not None:
        raise SpecError(f"{name}: there is a batch job of this name; choose another --name")
    arn = find_role(role, service)
    made = Made(service)
    part = part_name(name)
    options: dict[str, Any] = {"tags": tags, "network": network}
    try:
        made.create(
            "model",
            model_request(
                part,
                arn,
                inference_image(image, service.region, found.kind, ours=found.ours),
                found.model,
                **options,
            ),
        )
        made.create(
            "transform_job",
            transform_request(
                name, part, images, output, instance_type=instance_type,
                instance_count=instance_count, most_mb=max(math.ceil(most / _MB), 6), **options,
            ),
        )  # fmt: skip
    except BaseException as error:
        made.undo(error)
        raise
    return Batch(name, part, images, output, names, service)


def attach_batch(
    name: str, service: Service | None = None, *, classes: Sequence[str] | None = None
) -> Batch:
    """A batch job that was started before. Its ``classes`` default to those that its model was
    trained on. Raises JobError when there is no such job, SpecError when its classes are not
    known."""
    service = service or Service()
    found = describe_batch(name, service)
    if found is None:
        raise MissingError(
            f"{name}: there is no such batch job in {service.region}", name, "TransformJob"
        )
    urls = artifacts(found["ModelName"], service)
    previous = find_previous(urls[0], service) if len(urls) == 1 else Previous("")
    names = classes_of(previous, classes, service)
    return Batch(name, found["ModelName"], *_places(found), names, service)


def _places(found: Request) -> tuple[str, str]:
    source = found["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    return as_folder(source), as_folder(found["TransformOutput"]["S3OutputPath"])


def _demand_images(images: str, output: str, service: Service) -> int:
    """The bytes of the largest image. Raises SpecError for what a job would fail on."""
    for what, url in (("images", images), ("output", output)):
        demand_region(what, split_url(url)[0], service)
    if output.startswith(images):
        raise SpecError(f"output: {output} is below the images; choose another prefix")
    found = objects_below(images, service)
    if not found:
        raise SpecError(f"images: there are none below {images}")
    for one in found:
        key, size = one["Key"], one["Size"]
        if not key.lower().endswith(_KINDS):
            raise SpecError(f"images: {key} is below {images}; keep only {', '.join(_KINDS)} there")
        if not 0 < size <= _MOST:
            raise SpecError(f"images: {key} has {size:,} bytes; the service takes 1 to {_MOST:,}")
    return max(int(one["Size"]) for one in found)
