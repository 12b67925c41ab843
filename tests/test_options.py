from __future__ import annotations

import inspect
import json
from dataclasses import fields
from pathlib import Path

import pytest

import recpack
from recpack.data.classes import class_map
from recpack.sinks.settings import parse_size


def test_every_fault_is_in_one_error() -> None:
    with pytest.raises(recpack.ConfigError) as caught:
        recpack.Options(
            difficult="maybe", precision=9, resize=-1, quality=0, jobs=0, segment_size="1 parsec",
            annotations="x", shuffle=-1, classes="a,a",
        )  # fmt: skip
    lines = str(caught.value).splitlines()
    names = [line.split(":")[0] for line in lines]
    assert names == [
        "annotations", "difficult", "precision", "shuffle", "classes", "resize", "quality",
        "segment_size", "jobs",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "png", "quality": 95}, "png takes 0 to 9"),
        ({"encoding": "webp"}, "one of jpg, png"),
        ({"segment_size": 1000}, "64 KiB to 1 GiB"),
        ({"year": "2007", "images": "a", "annotations": "b"}, "leave year out"),
        ({"classes": {"a": 0, "b": 2}}, "ids must be 0..1"),
        ({"classes": []}, "give at least one name"),
        ({"classes": "a, ,b"}, "empty"),
        ({"classes": "a=b,b"}, "alias 'b' is also a class"),
        ({"classes": "a=c,b=c"}, "alias 'c' stands for 'a' and for 'b'"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(recpack.ConfigError, match=message):
        recpack.Options(**options)


def test_convert_takes_every_option_with_the_same_default() -> None:
    parameters = inspect.signature(recpack.convert).parameters
    options = {f.name: f.default for f in fields(recpack.Options) if f.init}
    taken = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name != "progress"
    }
    assert taken == options


def test_shuffle_takes_false() -> None:
    assert recpack.Options(shuffle=False).shuffle is None
    assert recpack.Options(shuffle=True).shuffle == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [("16MiB", 16 << 20), ("1 gib", 1 << 30), ("5MB", 5_000_000), (123, 123), ("64KiB", 65536)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


def test_class_maps(tmp_path: Path) -> None:
    voc = class_map("voc")
    assert voc is not None
    assert (voc.ids()["aeroplane"], voc.ids()["tvmonitor"], len(voc.names)) == (0, 19, 20)
    assert class_map("auto") is None
    listed = class_map("b, a=x=y")
    assert listed is not None
    assert listed.ids() == {"b": 0, "a": 1, "x": 1, "y": 1}
    (tmp_path / "c.txt").write_text("\ufeff# mine\nb\n\n a = x\n", "utf-8")
    from_file = class_map(str(tmp_path / "c.txt"))
    assert from_file is not None
    assert from_file.ids() == {"b": 0, "a": 1, "x": 1}
    (tmp_path / "m.json").write_text(json.dumps({"classes": ["z", "y"]}))
    manifest = class_map(str(tmp_path / "m.json"))
    assert manifest is not None
    assert manifest.names == ("z", "y")
    assert class_map({"q": 1, "p": 0}) == recpack.ClassMap(("p", "q"))
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(recpack.DataError, match="can't be read"):
        class_map(str(tmp_path / "bad.json"))
    with pytest.raises(recpack.DataError, match=r"no/such/file.txt can't be read: No such file"):
        recpack.write_list(tmp_path, tmp_path / "x.lst", classes="no/such/file.txt")


def test_empty_names_and_unknown_keywords_of_the_functions(tmp_path: Path) -> None:
    for call in (
        lambda: recpack.convert("", tmp_path / "x.rec"),
        lambda: recpack.convert(["a.zip", ""], tmp_path / "x.rec"),
        lambda: recpack.check(tmp_path, images=""),
        lambda: recpack.verify("x.rec", against=("x.lst", "")),
        lambda: recpack.RecordReader(""),
    ):
        with pytest.raises(recpack.ConfigError, match=r"^\w+: must not be empty$"):
            call()
    with pytest.raises(TypeError, match=r"'clases'; did you mean 'classes'\?"):
        recpack.check(tmp_path, clases="auto")  # type: ignore[call-arg]
