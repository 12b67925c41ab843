"""A set of shards on S3: each is a multipart upload, and all are completed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

from recpack.errors import SinkError
from recpack.settings import takes
from recpack.sinks.base import SegmentWriter, SetSink, SinkPlan, Written, WrittenShard
from recpack.sinks.s3 import MAX_PARTS, MIN_PART, S3Sink
from recpack.sinks.s3_block import S3Block
from recpack.sinks.s3_proof import expect
from recpack.sinks.s3_set_journal import (
    clear_older,
    in_threads,
    named_shards,
    present_shards,
    settle_any,
    shard_locations,
)
from recpack.sinks.settings import S3SinkSettings
from recpack.storage.files import new_token
from recpack.storage.s3.client import PREFLIGHT_PATIENCE, S3Client
from recpack.storage.s3.location import INDEX, LIST, MANIFEST, QUARANTINE
from recpack.storage.s3.objects import delete, demand_bucket, find
from recpack.storage.s3.pending import (
    demand_own,
    earlier_marker,
    finish,
    forget,
    put_pending,
    withdraw,
)
from recpack.storage.s3.retry import S3Error
from recpack.storage.s3.uploads import Marker, Pending


class _Shard(S3Sink):
    """One of the set's uploads."""

    segments = 0
    written: Written

    def arrive(self, shard: WrittenShard) -> str | None:
        """The first step of the publication: everything but completing the upload, which another
        process can do, by the parts that the store has. Returns the ETag that the object will have,
        where there are no checksums. Raises OSError."""
        self.written, companions = shard
        used = {segment.number for segment in self.written.segments}
        unused = [number + 1 for number in range(self.segments) if number not in used]
        self._expected = replace(expect(self.written), unused=unused)
        self._announce(companions)
        return None if self._checked else self._expected.etag

    def discard(self) -> None:
        """``abort``, but also what was completed is removed. Raises OSError."""
        self.abort()
        if self._whole or self._published:
            for one in (self.location, *map(self.location.companion, (INDEX, LIST))):
                delete(self._s3, one)
            if self._marker is not None:
                withdraw(self._s3, self.location, self._marker)
                self._marker = None

    @property
    def storing(self) -> tuple[bool, dict[str, str]]:
        """Whether objects are sent with checksums, and their encryption."""
        return self._checked, self._encryption

    def stop(self) -> None:
        """Send nothing more."""
        self._dismiss_writer()

    def _demand_no_set(self) -> None:
        """The set looks after that."""


class S3SetSink(S3Block, SetSink):
    """``s3://bucket/p/train/x-00000-of-00016.rec`` …; indexes, lists and the manifest ``x.json`` of
    the set ``x.rec`` below ``p/_recpack/``.

    Memory of a run: that of ``S3Sink``, whatever the number of shards, because they share threads
    and buffers. Until all parts of all shards have arrived, an older set is whole (see
    ``sinks.s3_set_journal``). A set and an object never replace each other: they would have the
    same manifest. The options are those of ``S3Sink``, without ``resume``.
    """

    min_segment = MIN_PART
    max_segments = MAX_PARTS
    gives_receipts = True

    @takes(S3SinkSettings)
    def __init__(self, url: str, shards: int, settings: S3SinkSettings) -> None:
        self._own = _Shard(url, **vars(settings))
        self.location, self.name, self.checksum = (
            self._own.location, self._own.name, self._own.checksum,
        )  # fmt: skip
        self.shards = shards
        self._s3 = S3Client.of(settings, settings.patience)
        self._threads, self._overwrite = settings.uploads, settings.overwrite
        locations = shard_locations(self.location, shards)
        self.names = [one.key.rpartition("/")[2] for one in locations]
        self._sinks = [_Shard(str(one), **vars(settings)) for one in locations]
        self._marker: Marker | None = None
        self._arrived = False

    def writers(self, plan: SinkPlan) -> Sequence[SegmentWriter]:
        assert self._marker is not None
        common = replace(plan, shards=(), fingerprint=dict, run=self._marker.token)
        plans = []
        for sink, (first, end) in zip(self._sinks, pairwise(plan.shards), strict=True):
            sink.segments = end - first
            plans.append(replace(common, segments=end - first, first=first))
        pairs = zip(self._sinks, plans, strict=True)
        return in_threads(lambda pair: pair[0].open(pair[1]), pairs, self._threads)

    def publish(
        self,
        shards: Sequence[WrittenShard],
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[Sequence[str | None]], str],
    ) -> None:
        try:
            self._publish(shards, companions, manifest)
        except OSError as error:
            raise self._sink_error(error) from error

    def _publish(
        self,
        shards: Sequence[WrittenShard],
        companions: Mapping[str, Iterable[str]],
        manifest: Callable[[Sequence[str | None]], str],
    ) -> None:
        try:
            pairs = zip(self._sinks, shards, strict=True)
            etags = in_threads(lambda pair: pair[0].arrive(pair[1]), pairs, self._threads)
            marker = self._announce(shards, {**companions, MANIFEST: map(manifest, [etags])})
            clear_older(self._s3, self.location, self.shards)
            kept = in_threads(lambda one: one.complete(one.written), self._sinks, self._threads)
            in_threads(S3Sink.end, self._sinks, self._threads)
            finish(self._s3, self.location, marker, None if kept == etags else manifest(kept))
            self._marker = None
            with suppress(OSError):  # what stays there does it no harm
                forget(self._s3, self.location, marker)
        except SinkError:  # another program wrote a shard, or it arrived damaged
            if self._arrived and self._marker is not None:  # first, so that nobody goes on with it
                self._marker = replace(self._marker, pending=None)
                self._write_marker()
                self._arrived = False
            in_threads(_Shard.discard, self._sinks, self._threads)
            raise

    def abort(self) -> None:
        """Abort the uploads, and remove what is pending; what has arrived as a whole stays. Raises
        OSError when the store refuses."""
        if self._arrived:
            for one in self._sinks:
                one.stop()
            return
        in_threads(S3Sink.abort, self._sinks, self._threads)
        marker, self._marker = self._marker, None
        if marker is not None:
            withdraw(self._s3, self.location, marker)

    def _preflight(self) -> None:
        patience = min(PREFLIGHT_PATIENCE, self._s3.patience)
        demand_bucket(self._s3, self.location, patience=patience)
        marker = earlier_marker(self._s3, self.location, patience=patience)
        if marker is not None:
            settle_any(self._s3, self.location, marker)
        self._demand_free(patience)
        self._marker = Marker(self.location.key, token=new_token(), shards=self.shards)
        self._write_marker(patience=patience)
        in_threads(S3Sink.__enter__, self._sinks, self._threads)

    def _demand_free(self, patience: float) -> None:
        """Raise SinkError for what is there and must not be replaced."""
        if find(self._s3, self.location, patience=patience) is not None:
            raise SinkError(
                f"{self.location} is one object, and a set of shards can't replace it; choose "
                "another name, or delete it and its manifest"
            )
        try:
            keys = sorted(present_shards(self._s3, self.location))
        except S3Error as error:
            if error.code not in ("403", "AccessDenied"):
                raise
            keys = []  # listing is not allowed: each shard still looks after its own key
        present = [self.location._replace(key=key) for key in keys]
        manifests = [self.location.companion(suffix) for suffix in (MANIFEST, QUARANTINE)]
        if not self._overwrite:
            there = (one for one in manifests if find(self._s3, one, patience=patience) is not None)
            if one := next(iter([*present, *there]), None):
                raise SinkError(f"{one} exists; choose another name or replace it with --overwrite")
        known = {*self.names, *(named_shards(self._s3, self.location) if present else ())}
        for one in present:
            if one.key.rpartition("/")[2] not in known:
                raise SinkError(
                    f"{one} is a shard of another set of this name, which no manifest names; "
                    "delete it, or choose another name"
                )

    def _announce(
        self, shards: Sequence[WrittenShard], companions: Mapping[str, Iterable[str]]
    ) -> Marker:
        """Write the companions of the set under pending keys, and say that all has arrived."""
        assert self._marker is not None
        checked, encryption = self._own.storing
        crc32 = put_pending(
            self._s3, self.location, self._marker.token, companions, checked=checked, **encryption
        )
        demand_own(self._s3, self.location, self._marker)
        segments = [segment for shard in shards for segment in shard.written.segments]
        whole = Written(self.checksum, segments)
        pending = Pending(
            whole.size, self.checksum.text(whole.value), None, crc32, checked, encryption
        )
        self._marker = replace(self._marker, pending=pending)
        self._arrived = True  # the store may have the marker even if its answer is lost
        self._write_marker()
        return self._marker

    def _write_marker(self, **options: Any) -> None:
        assert self._marker is not None
        checked, encryption = self._own.storing
        self._marker.write(self._s3, self.location, checked=checked, **encryption, **options)

    def _leave(self, error: BaseException | None) -> None:
        """Abort; if that fails too, add a note to ``error``."""
        cleanup = f"recpack s3-cleanup {self.location}"
        try:
            self.abort()
        except OSError as failure:
            if error is None:
                raise self._sink_error(failure) from failure
            error.add_note(f"{self.location}: can't abort the uploads: {failure}; run {cleanup}")
        if error is not None and self._arrived and self._marker is not None:
            error.add_note(
                f"{self.location}: all of it arrived, but it is not published yet; finish it with "
                f"{cleanup}"
            )
