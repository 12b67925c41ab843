"""MXNet 1.9.1 in a process of its own: run by the interpreter that has it, it answers one JSON
line on standard output for each JSON line on standard input."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import sys
from collections.abc import Callable
from typing import Any


def serve() -> None:
    import warnings

    import numpy

    warnings.simplefilter("ignore")
    setattr(numpy, "bool", bool)  # noqa: B010
    import mxnet as mx

    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever MXNet prints must not get between the replies

    def label_of(header: Any) -> list[float]:
        label = header.label
        return [float(label)] if header.flag == 0 else [float(value) for value in label]

    def write(rec: str, idx: str, records: list[Any]) -> None:
        file = mx.recordio.MXIndexedRecordIO(idx, rec, "w")
        for id_, label, image in records:
            value = label[0] if len(label) == 1 else label
            file.write_idx(
                id_, mx.recordio.pack(mx.recordio.IRHeader(0, value, id_, 0), bytes.fromhex(image))
            )
        file.close()

    def read(rec: str, idx: str) -> list[Any]:
        file = mx.recordio.MXIndexedRecordIO(idx, rec, "r")
        found = []
        for key in file.keys:
            header, image = mx.recordio.unpack(file.read_idx(key))
            found.append([header.id, label_of(header), bytes(image).hex()])
        file.close()
        return found

    def recordio(folder: str, steps: list[Any]) -> list[Any]:
        """What mxnet.recordio does; see recordio_calls.py."""
        outcomes: list[Any] = importlib.import_module("recordio_calls").play(
            mx.recordio, folder, steps
        )
        return outcomes

    def pixels(rec: str, idx: str) -> list[Any]:
        """Decoded by MXNet's own reader: shape and mean of each image."""
        file = mx.recordio.MXIndexedRecordIO(idx, rec, "r")
        found = []
        for key in file.keys:
            _, image = mx.recordio.unpack(file.read_idx(key))
            array = mx.image.imdecode(image).asnumpy()
            found.append([list(array.shape), float(array.mean())])
        file.close()
        return found

    def det_iter(rec: str, idx: str) -> list[Any]:
        """image.ImageDetIter: the objects of each image, in order."""
        batches = mx.image.ImageDetIter(
            batch_size=1, data_shape=(3, 64, 64), path_imgrec=rec, path_imgidx=idx, shuffle=False
        )
        return [batch.label[0].asnumpy()[0].tolist() for batch in batches]

    def data_set(rec: str) -> list[Any]:
        """gluon's ImageRecordDataset, which GluonCV's RecordFileDetection extends: labels."""
        found = mx.gluon.data.vision.ImageRecordDataset(rec)
        labels = [found[position][1] for position in range(len(found))]
        return [numpy.ravel(label).tolist() for label in labels]

    def faces(folder: str) -> dict[str, Any]:
        """What InsightFace's MXFaceDataset and FaceImageIter take from a folder: the number of
        classes, each image with its label and decoded shape, and the keys of each identity."""
        with open(os.path.join(folder, "property")) as text:
            stated = [int(number) for number in text.readline().split(",")]
        path = os.path.join(folder, "train.{}")
        file = mx.recordio.MXIndexedRecordIO(path.format("idx"), path.format("rec"), "r")
        first, _ = mx.recordio.unpack(file.read_idx(0))
        keys, ranges = file.keys, []
        if first.flag > 0:
            end, stop = (int(value) for value in first.label)
            keys = range(1, end)
            for key in range(end, stop):
                table, _ = mx.recordio.unpack(file.read_idx(key))
                ranges.append([int(value) for value in table.label])
        images = []
        for key in keys:
            header, image = mx.recordio.unpack(file.read_idx(key))
            label = int(numpy.ravel(header.label)[0])
            images.append([label, bytes(image).hex(), list(mx.image.imdecode(image).shape)])
        file.close()
        return {"property": stated, "images": images, "ranges": ranges}

    def class_iter(rec: str, idx: str, label_width: int) -> list[Any]:
        """The C++ ImageRecordIter, for classification: labels."""
        batches = mx.io.ImageRecordIter(
            path_imgrec=rec, path_imgidx=idx, data_shape=(3, 32, 32), batch_size=1,
            label_width=label_width, preprocess_threads=1,
        )  # fmt: skip
        return [batch.label[0].asnumpy().ravel().tolist() for batch in batches]

    def record_iter(
        rec: str, label_pad_width: int, options: dict[str, Any] | None = None
    ) -> list[Any]:
        """The C++ ImageDetRecordIter (what SageMaker is taken to use): padded labels."""
        batches = mx.io.ImageDetRecordIter(
            path_imgrec=rec, data_shape=(3, 64, 64), shuffle=False,
            label_pad_width=label_pad_width, preprocess_threads=1,
            **{"batch_size": 1, "rand_crop_prob": 0, **(options or {})},
        )  # fmt: skip
        found = []
        for batch in batches:
            for label in batch.label[0].asnumpy().tolist():
                found.append([batch.data[0].shape, label])
        return found

    def record_pixels(rec: str) -> list[Any]:
        """Its pixels, 64 x 64 x 3, red first."""
        batches = mx.io.ImageDetRecordIter(
            path_imgrec=rec, data_shape=(3, 64, 64), batch_size=1, shuffle=False,
            label_pad_width=20, preprocess_threads=1,
        )  # fmt: skip
        return [batch.data[0].asnumpy()[0].transpose(1, 2, 0).tolist() for batch in batches]

    def im2rec(arguments: list[str]) -> None:
        tool = os.path.join(os.path.dirname(mx.__file__), "tools", "im2rec.py")
        sys.argv = [tool, *arguments]
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            runpy.run_path(tool, run_name="__main__")
        gc.collect()  # the tool leaves closing its files to the collector

    calls: dict[str, Callable[..., Any]] = {
        f.__name__: f
        for f in (
            write,
            read,
            recordio,
            pixels,
            det_iter,
            data_set,
            faces,
            class_iter,
            record_iter,
            record_pixels,
            im2rec,
        )
    }
    for name in ("mxnet_ssd", "mxnet_operators"):
        calls |= importlib.import_module(name).calls
    print("{}", file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"value": calls[request["call"]](*request["arguments"])}
        except Exception as error:  # the test that asked decides what it means
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    serve()
