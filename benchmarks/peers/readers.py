"""Epochs of one reader: ``NAME PATH raw|decoded SECONDS`` prints samples/s as JSON, in random order
and in the order of the files, for 1 and 2 worker processes. ``NAME PATH try`` only tries the
imports.

A sample is its label and its image, as bytes; decoded ones by OpenCV, whoever read them. Each
worker reads its share, in a process of its own, so nothing is sent between processes. An epoch
before the clock starts is of no account; then epochs follow for so many seconds.
"""

from __future__ import annotations

import ctypes
import io
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

Sample = tuple[object, bytes]
Epochs = Callable[[bool, int, int], Callable[[], Iterator[Sample]]]
"""``(random, part, parts)`` → a function that begins an epoch of that part of the samples."""


def share(count: int, random: bool, part: int, parts: int) -> list[int]:
    """The positions of a worker."""
    order = np.random.RandomState(0).permutation(count) if random else np.arange(count)
    size = -(-count // parts)
    return order[part * size : (part + 1) * size].tolist()


def in_memory(path: str) -> Epochs:
    """No reader: what decoding alone takes."""
    import recpack

    with recpack.RecordReader(path) as records:
        samples = [(record.label, record.image_bytes) for record in records]

    def epochs(random: bool, part: int, parts: int) -> Callable[[], Iterator[Sample]]:
        order = share(len(samples), random, part, parts)
        return lambda: (samples[i] for i in order)

    return epochs


def record_reader(path: str) -> Epochs:
    """Mapped, as it is by default."""
    import recpack

    def epochs(random: bool, part: int, parts: int) -> Callable[[], Iterator[Sample]]:
        reader = recpack.RecordReader(path)
        order = share(len(reader), random, part, parts)

        def epoch() -> Iterator[Sample]:
            whole = not random and parts == 1
            for record in reader if whole else map(reader.__getitem__, order):
                yield record.label, record.image_bytes

        return epoch

    return epochs


def record_batches(path: str) -> Epochs:
    """The same in batches of 64."""
    import recpack

    def epochs(random: bool, part: int, parts: int) -> Callable[[], Iterator[Sample]]:
        reader = recpack.RecordReader(path)
        order = share(len(reader), random, part, parts)

        def epoch() -> Iterator[Sample]:
            for batch in reader.batches(64, order):
                for record in batch:
                    yield record.label, record.image_bytes

        return epoch

    return epochs


def record_dataset(path: str) -> Epochs:
    from recpack.torch import RecordDataset

    def epochs(random: bool, part: int, parts: int) -> Callable[[], Iterator[Sample]]:
        data = RecordDataset(path, decode=None, targets="label")
        order = share(len(data), random, part, parts)

        def epoch() -> Iterator[Sample]:
            for first in range(0, len(order), 64):  # as a DataLoader asks for a batch
                for image, label in data.__getitems__(order[first : first + 64]):
                    yield label, image

        return epoch

    return epochs


def record_iterable_dataset(path: str) -> Epochs:
    from recpack.torch import RecordIterableDataset

    def epochs(random: bool, part: int, parts: int) -> Callable[[], Iterator[Sample]]:
        data = RecordIterableDataset(
            path, decode=None, targets="label", shuffle=random, rank=part, world_size=parts
        )

        def epoch() -> Iterator[Sample]:
            for image, label in data:
                yield label, image

        return epoch

    return epochs


def by_recordio(recordio: object, path: str) -> Epochs:
    """Whoever has the names of ``mxnet.recordio``."""

    def epochs(random: bool, part: int, parts: int) -> Callable[[], Iterator[Sample]]:
        index = path.removesuffix(".rec") + ".idx"
        file = recordio.MXIndexedRecordIO(index, path, "r")  # type: ignore[attr-defined]
        keys = [file.keys[i] for i in share(len(file.keys), random, part, parts)]
        unpack = recordio.unpack  # type: ignore[attr-defined]

        def epoch() -> Iterator[Sample]:
            file.seek(keys[0])
            for key in keys:
                header, image = unpack(file.read_idx(key) if random else file.read())
                yield header.label, image

        return epoch

    return epochs


def our_recordio(path: str) -> Epochs:
    from recpack import mxrecordio

    return by_recordio(mxrecordio, path)


def mxnet_recordio(path: str) -> Epochs:
    np.bool = bool  # MXNet 1.9.1 asks for it
    import mxnet

    return by_recordio(mxnet.recordio, path)


def mx_recordio(path: str) -> Epochs:
    """It finds ``libmxnet.so`` by a variable."""
    import mx_recordio

    return by_recordio(mx_recordio.recordio, path)


def webdataset(path: str) -> Epochs:
    """Its random order is that of a buffer of 1,000 samples; the workers share the files."""
    import webdataset as wds

    def epochs(random: bool, part: int, parts: int) -> Callable[[], Iterator[Sample]]:
        files = sorted(os.path.join(path, name) for name in os.listdir(path))[part::parts]
        data = wds.WebDataset(files, shardshuffle=len(files) if random else False)
        data = data.shuffle(1000) if random else data

        def epoch() -> Iterator[Sample]:
            for sample in data:
                yield np.load(io.BytesIO(sample["label.npy"])), sample["jpg"]

        return epoch

    return epochs


def mds(path: str) -> Epochs:
    from streaming import LocalDataset

    def epochs(random: bool, part: int, parts: int) -> Callable[[], Iterator[Sample]]:
        data = LocalDataset(path)
        order = share(len(data), random, part, parts)

        def epoch() -> Iterator[Sample]:
            for i in order:
                sample = data[i]
                yield sample["label"], sample["image"]

        return epoch

    return epochs


def litdata(path: str) -> Epochs:
    import litdata

    def epochs(random: bool, part: int, parts: int) -> Callable[[], Iterator[Sample]]:
        os.environ |= {"WORLD_SIZE": str(parts), "GLOBAL_RANK": str(part)}
        data = litdata.StreamingDataset(path, shuffle=random)

        def epoch() -> Iterator[Sample]:
            for sample in data:
                yield sample["label"], bytes(sample["image"])  # it gives a view

        return epoch

    return epochs


def ffcv(path: str) -> Epochs:
    """Its images are as long as the longest, with zeros at their ends. Each process has a thread
    besides, which reads."""
    from ffcv.fields.decoders import BytesDecoder
    from ffcv.loader import Loader, OrderOption

    def epochs(random: bool, part: int, parts: int) -> Callable[[], Iterator[Sample]]:
        count = int(Loader(path, batch_size=1).reader.num_samples)  # it is an uint64
        data = Loader(
            path, batch_size=64, num_workers=1, os_cache=True, drop_last=False,
            order=OrderOption.RANDOM if random else OrderOption.SEQUENTIAL,
            indices=sorted(share(count, random, part, parts)),
            pipelines={"image": [BytesDecoder()], "label": [BytesDecoder()]},
        )  # fmt: skip

        def epoch() -> Iterator[Sample]:
            for images, labels in data:
                for image, label in zip(images, labels, strict=True):
                    yield label, image.tobytes()

        return epoch

    return epochs


def image_folder(path: str) -> Epochs:
    """Its label is the folder's number."""
    from torchvision.datasets import ImageFolder

    def load(name: str) -> bytes:
        with open(name, "rb") as file:
            return file.read()

    def epochs(random: bool, part: int, parts: int) -> Callable[[], Iterator[Sample]]:
        data = ImageFolder(path, loader=load)
        order = share(len(data), random, part, parts)

        def epoch() -> Iterator[Sample]:
            for i in order:
                image, label = data[i]
                yield label, image

        return epoch

    return epochs


def keep_memory() -> None:
    """Freed pixels stay in the process, as they do by chance where PyTorch is imported: else the
    system's new pages take up to half of the time, and hide the readers."""
    for parameter, value in ((-3, 1 << 28), (-1, 1 << 29)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        ctypes.CDLL(None).mallopt(parameter, value)


def use_decoded(samples: Iterable[Sample]) -> int:
    import cv2

    count = 0
    for _, image in samples:
        assert cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) is not None
        count += 1
    return count


def use_raw(samples: Iterable[Sample]) -> int:
    count = 0
    for _, image in samples:
        assert type(image) is bytes
        count += 1
    return count


READERS = {
    function.__name__: function
    for function in (
        in_memory, record_reader, record_batches, record_dataset, record_iterable_dataset,
        our_recordio, mxnet_recordio, mx_recordio, webdataset, mds, litdata, ffcv,
        image_folder,
    )
}  # fmt: skip


def rate(
    epochs: Epochs,
    use: Callable[[Iterable[Sample]], int],
    random: bool,
    parts: int,
    least: float,
) -> float:
    """Samples/s of all workers together."""
    context = multiprocessing.get_context("fork")
    start, rates = context.Barrier(parts), context.SimpleQueue()

    def work(part: int) -> None:
        epoch = epochs(random, part, parts)
        use(epoch())
        start.wait()
        count, begin, seconds = 0, time.perf_counter(), 0.0
        while seconds < least:
            count += use(epoch())
            seconds = time.perf_counter() - begin
        rates.put(count / seconds)

    workers = [context.Process(target=work, args=(part,)) for part in range(parts)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            sys.exit(f"a worker ended with {worker.exitcode}")
    return sum(rates.get() for _ in workers)


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever they print
    name, path, kind, *seconds = sys.argv[1:]
    epochs = READERS[name](path)
    if kind == "try":
        return
    if kind == "raw":
        use = use_raw
    else:
        import cv2

        cv2.setNumThreads(1)
        keep_memory()
        use = use_decoded
    orders = {"random": True, "in order": False}
    found = {
        f"{order}, {parts}": rate(epochs, use, random, parts, float(seconds[0]))
        for order, random in orders.items()
        for parts in (1, 2)
    }
    print(json.dumps(found), file=out, flush=True)


if __name__ == "__main__":
    main()
