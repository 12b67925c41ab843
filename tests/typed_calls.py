"""Right and wrong calls of the public functions, for type checkers; see test_typing.py.

Each wrong one has its ``type: ignore``. Type checkers complain about one that is not needed, so a
mistake that is no longer seen fails too. Nothing here is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence

import recpack
import train


def right() -> None:
    result: recpack.Result = recpack.convert("VOCdevkit", "a.rec", year="2007,2012", jobs=2)
    recpack.convert(["a.tar", "b.tar"], recpack.MemorySink(), year=["2007"], difficult="drop")
    recpack.convert("VOCdevkit", "s3://b/k.rec", shuffle=None, classes={"cat": 0}, sse="aws:kms")
    recpack.write_list("VOCdevkit", "a.lst", precision=4, progress=print)
    recpack.pack("a.lst", "VOCdevkit", "a.rec", classes=["cat"], encoding="png")
    found: recpack.Check = recpack.check("VOCdevkit", classes="auto")
    verified = recpack.verify("a.rec", reader="dali", against=("a.lst", "VOCdevkit"))
    inspection: recpack.Inspection = recpack.inspect("a.rec", endpoint_url="http://127.0.0.1:9000")
    shown: list[int] = recpack.preview("a.rec", "a.png", records=[0, 7], count=3)
    recpack.unpack("a.rec", "folder", overwrite=True)
    manifest: recpack.Manifest = recpack.merge("c.rec", ["a.rec", "b.rec"])
    recpack.reindex("a.rec", requester_pays=True)
    made: recpack.Result = recpack.shuffle("a.rec", "s3://b/k.rec", seed=3, jobs=2)
    recpack.split("a.rec", output="b.rec", fractions="0.7/0.2/0.1", progress=print)
    recpack.filter("a.rec", recpack.MemorySink(), classes=["cat"], min_box=8, negatives="keep")
    recpack.download(["voc2007"], "archives", mirror="http://127.0.0.1/voc", timeout=3.0)
    recpack.cleanup("s3://bucket/prefix", all=True, dry_run=True)
    with recpack.RecordWriter("s3://b/k.rec", endpoint_url="http://127.0.0.1:9000") as writer:
        number: int = writer.write(b"", boxes=[[0, 0.1, 0.1, 0.2, 0.2]])
    with recpack.RecordReader("a.rec", mapped=False) as reader:
        several: Sequence[recpack.Record] = reader[:3]
    recpack.S3Sink("s3://b/k.rec", checksum="none", patience=3.0)
    recpack.Options(segment_size="16MiB", to_nothing=None)  # type: ignore[call-arg]
    job: train.Job = train.fit("s3://a", "s3://b", "s3://c", role="arn", epochs=5, spot=True)
    recpack.train.plan("s3://a", "s3://b", "s3://c", base_network="resnet-50", model=job)
    train.fit("a.rec", "b.rec", "models", local=True, base_network="resnet-18", seed=3, model=job)
    train.fit("s3://a", "s3://b", "s3://c", image_shape="3,64,64", num_layers=50, optimizer="nag")
    recpack.train.tune("s3://a", "s3://b", "s3://c", ranges={"momentum": "0.5..0.9"}, jobs=20)
    del result, found, verified, inspection, shown, manifest, number, several, made


def wrong() -> None:
    recpack.convert("VOCdevkit", "a.rec", difficult="kep")  # type: ignore[arg-type]
    recpack.convert("VOCdevkit", "a.rec", yaer="2007")  # type: ignore[call-arg]
    recpack.convert("VOCdevkit", "a.rec", jobs="2")  # type: ignore[arg-type]
    recpack.convert("VOCdevkit")  # type: ignore[call-arg]
    recpack.write_list("VOCdevkit", "a.lst", resize=3)  # type: ignore[call-arg]
    recpack.pack("a.lst", "VOCdevkit", "a.rec", one_based=True)  # type: ignore[call-arg]
    recpack.check("VOCdevkit", recpack.Options())  # type: ignore[call-arg, arg-type]
    recpack.check("VOCdevkit", unknown_class="drop")  # type: ignore[arg-type]
    recpack.verify("a.rec", reader="tensorflow")  # type: ignore[arg-type]
    recpack.verify("a.rec", against="a.lst")  # type: ignore[arg-type]
    recpack.inspect("a.rec", overwrite=True)  # type: ignore[call-arg]
    recpack.preview("a.rec", "a.png", cuont=3)  # type: ignore[call-arg]
    recpack.unpack("a.rec", "folder", overwrite="yes")  # type: ignore[arg-type]
    recpack.merge("c.rec", ["a.rec"], storage_clas="GLACIER")  # type: ignore[call-arg]
    recpack.reindex("a.rec", jobs=2)  # type: ignore[call-arg]
    recpack.shuffle("a.rec", "b.rec", sead=3)  # type: ignore[call-arg]
    recpack.split("a.rec", fractions=0.8)  # type: ignore[arg-type]
    recpack.filter("a.rec", "b.rec", negatives="error")  # type: ignore[arg-type]
    recpack.download(["voc2007"], "archives", miror="http://x")  # type: ignore[call-arg]
    recpack.cleanup("s3://bucket/prefix", al=True)  # type: ignore[call-arg]
    recpack.RecordWriter("a.rec", endpoint="http://x")  # type: ignore[call-arg]
    recpack.RecordReader("a.rec", maped=False)  # type: ignore[call-arg]
    recpack.S3Sink("s3://b/k.rec", checksum="md5")  # type: ignore[arg-type]
    recpack.Options(encoding="webp")  # type: ignore[arg-type]
    train.fit("s3://a", "s3://b", "s3://c", rol="arn")  # type: ignore[call-arg]
    train.tune("s3://a", "s3://b", "s3://c")  # type: ignore[call-arg]
    train.fit("s3://a", "s3://b", "s3://c", optimizer="sdg")  # type: ignore[arg-type]
    train.fit("a.rec", "b.rec", "models", local=True, device="tpu")  # type: ignore[arg-type]
    recpack.train.plan("s3://a", "s3://b", "s3://c", epochs="5")  # type: ignore[arg-type]
