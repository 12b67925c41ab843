"""The result of ``recpack verify``, and an object on S3 that is compared without a download."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from recpack.display import brief
from recpack.errors import DataError
from recpack.formats.manifest import Manifest
from recpack.markup import section, table
from recpack.records.settings import Reader
from recpack.records.verdicts import Verdict
from recpack.storage.checksums import parse_checksum
from recpack.storage.paths import PathOrUrl, base_name
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import parse_location


@dataclass(frozen=True)
class Verification:
    """The result. ``proof``: ``read`` (every byte), ``checksum`` (that the store keeps of the whole
    object) or ``etag``; ``records``: their number, if they were read; ``rules``: what was held
    against the file (``manifest``, ``recordio``, ``index``, those of ``reader``, ``list``);
    ``shards``: of a set, their number, else 0; ``readers``: what each reader does with the file, as
    far as its rules were held; none where the records were not read."""

    name: str
    bytes: int
    checksum: str | None
    proof: str
    records: int | None
    rules: tuple[str, ...]
    reader: Reader | None = None
    shards: int = 0
    readers: tuple[Verdict, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return asdict(self)

    def __repr__(self) -> str:
        readers = {one.reader: one.verdict for one in self.readers}
        return brief(self, name=self.name, records=self.records, proof=self.proof, readers=readers)

    def _repr_html_(self) -> str:
        rows = vars(self) | {"rules": ", ".join(self.rules), "readers": None}
        known = [(name, value) for name, value in rows.items() if value is not None]
        readers = [(one.reader, str(one)) for one in self.readers]
        return section(f"{self.name}: verified", table(known), table(readers) if readers else "")


def verify_stored(path: PathOrUrl, manifest: Manifest | None, s3: S3Client) -> Verification:
    from recpack.storage.s3.objects import head

    try:
        stored = head(s3, parse_location(path))
    except OSError as error:
        raise DataError(f"{path}: {error}") from error
    if manifest is None or not manifest.rec.checksum:
        raise DataError(
            f"{path}: there is no manifest to compare with; use --deep to read the records"
        )
    demand_size(path, stored.size, manifest)
    checksum, value = parse_checksum(manifest.rec.checksum)
    actual, expected = stored.checksums.get(checksum), checksum.base64(value)
    etag = manifest.rec.etag
    if actual is None and etag is None:
        raise DataError(
            f"{path}: the store keeps no {checksum.value}; use --deep to read the records"
        )
    if actual is not None and actual != expected:
        raise DataError(
            f"{path}: its {checksum.value} is {actual}, the manifest's {expected}; it is another "
            "object or damaged: pack again"
        )
    if actual is None and etag != stored.etag:
        raise DataError(
            f"{path}: its ETag is {stored.etag}, the manifest's {etag}; it is another object or a "
            "copy: compare it with --deep"
        )
    proof = "etag" if actual is None else "checksum"
    checksum_text = manifest.rec.checksum
    return Verification(base_name(path), stored.size, checksum_text, proof, None, ("manifest",))


def demand_size(path: PathOrUrl, size: int, manifest: Manifest) -> None:
    if manifest.rec.bytes not in (None, size):
        raise DataError(
            f"{path}: it has {size:,} bytes, the manifest {manifest.rec['bytes']:,}; it is "
            "truncated or another file: pack again"
        )
