from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import recpack
from recpack.data.statistics import Spread, histogram
from recpack.pipeline.check import check
from tests.cli.test_cli import run
from tests.pipeline.test_convert import pack, small
from tests.sources.test_wild import CASES, PLAIN, Case, encoded, lay_out, pixels
from tests.support.datasets import WRITERS, Picture
from tests.support.devkits import box_xml, jpeg, xml


def everything_wrong(root: Path) -> Path:
    """One devkit with every case of the table that fits beside the others, and a leak."""
    lay_out(root, Case())
    for number, (name, case) in enumerate(CASES.items()):
        if case.options or case.annotation is None or case.more is not bool or "10 mil" in name:
            continue
        stem = f"case{number:02d}"
        data = case.annotation
        file = root / "Annotations" / f"{stem}.xml"
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        if case.image is not None:
            extension = Path(case.name).suffix
            (root / "JPEGImages" / f"{stem}{extension}").write_bytes(case.image)
    ids = sorted(path.stem for path in (root / "Annotations").glob("*.xml"))
    sets = root / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("".join(f"{id_}\n" for id_ in [*ids, "absent"]))
    (sets / "val.txt").write_text("clean\n")
    return root


def test_a_clean_devkit(devkit: Path) -> None:
    found = check(devkit, jobs=2)
    assert (found.annotations, found.samples, found.refused) == (120, 120, False)
    assert found.problems == []
    assert found.image_sets == {"VOC2007 trainval": 70, "VOC2012 trainval": 50}
    assert sum(found.classes.values()) == found.objects == sum(found.box_sides.values())
    assert sum(found.aspects.values()) == found.objects
    assert sum(found.objects_per_image.values()) == 120
    assert list(found.classes) == list(recpack.VOC_CLASSES)
    assert all(found.class_images[name] <= count for name, count in found.classes.items())
    result = recpack.convert(devkit, recpack.MemorySink())
    assert found.label_width == result.manifest.label_width
    assert found.classes == dict(result.manifest.objects)


def test_every_problem_of_the_table_is_found_in_one_pass(tmp_path: Path) -> None:
    devkit = everything_wrong(tmp_path / "d")
    found = check(devkit, jobs=1, set="all")
    codes = {problem.code for problem in found.problems}
    expected = {
        code
        for case in CASES.values()
        if not case.options and case.more is bool
        for code, _ in case.problems
    }
    assert codes == (expected - {"annotation-too-large", "path-unsafe"}) | {
        "path-unsafe", "image-leaked", "image-duplicate", "annotation-missing"
    }  # fmt: skip
    assert found.refused
    assert found.unknown_classes == {"Cat": 1}
    assert found.nearest_classes == {"Cat": "cat"}
    leaks = [p for p in found.problems if p.code == "image-leaked"]
    assert [p.file for p in leaks] == ["JPEGImages/clean.jpg"]


def test_duplicates_across_image_sets_are_a_leak(tmp_path: Path) -> None:
    devkit = lay_out(tmp_path / "d", Case(image=jpeg(60, 40, 1)))  # odd has clean's bytes
    sets = devkit / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("clean\n")
    (sets / "val.txt").write_text("odd\n")
    found = check(devkit, jobs=1, set="all")
    assert found.duplicates == [["JPEGImages/clean.jpg", "JPEGImages/odd.jpg"]]
    assert [(p.code, p.severity) for p in found.problems] == [("image-leaked", "warning")]
    assert found.image_sets == {"train": 1, "val": 1}
    # convert does not look for equal images, so it takes them with --strict too
    assert not check(devkit, jobs=1, set="all", strict=True).refused


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    devkit = everything_wrong(tmp_path / "d")
    before = sorted(tmp_path.rglob("*"))
    assert run("check", devkit, "--set", "all") == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert re.search(r"^convert would fail: \d+ errors$", out, re.MULTILINE)
    assert "Cat: did you mean 'cat'?" in out
    assert re.search(r"^  cat +█+ +\d+ in \d+ images$", out, re.MULTILINE)
    assert "error  box-empty" not in out
    assert "warning  box-empty: the box has no area" in out
    assert sorted(tmp_path.rglob("*")) == before
    assert run("check", devkit, "--set", "all", "--json", "--report", tmp_path / "r.json") == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "r.json").read_text())
    assert printed["problem_counts"]["image-truncated"] == 4
    assert run("check", tmp_path / "nowhere") == 1


def test_a_clean_devkit_exits_0(devkit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", devkit, "--year", "2012") == 0
    out = capsys.readouterr().out
    assert "50 annotations, 50 samples" in out
    assert "no problems" in out


def test_convert_reports_its_problems(tmp_path: Path) -> None:
    devkit = lay_out(tmp_path / "d", Case(xml(60, 40, box_xml("kat", (1, 2, 3, 4)))))
    report = tmp_path / "problems.json"
    assert run("convert", devkit, tmp_path / "a.rec", "--report", report) == 1
    found = json.loads(report.read_text())
    assert found["problem_counts"] == {"class-unknown": 1}
    assert run("convert", devkit, tmp_path / "a.rec", "--report", report, "--on-error", "skip") == 0
    assert json.loads(report.read_text())["problems"][0]["action"] == "dropped image"
    assert run("convert", devkit, tmp_path / "b.rec", "--report", tmp_path / "r.html") == 2


def listed(devkit: Path, sets: dict[str, str]) -> Path:
    """The devkit with image sets: name → ids, separated by spaces."""
    folder = devkit / "ImageSets" / "Main"
    folder.mkdir(parents=True, exist_ok=True)
    for name, ids in sets.items():
        (folder / f"{name}.txt").write_text("".join(f"{id_}\n" for id_ in ids.split()))
    return devkit


def test_check_reads_what_convert_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    devkit = listed(small(tmp_path / "d", PLAIN_BOX), {"trainval": "0 1", "test": "2"})
    write(devkit, "1", box_xml("zebra", (6, 4, 30, 20)))
    assert run("check", devkit) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "2 annotations, 1 sample, 1 object"
    assert out[-2:] == [
        "convert would fail: 1 error",
        "1 of 3 images (trainval); 1 left out; test, 1 image, not converted: --set trainval,test",
    ]
    assert run("convert", devkit, tmp_path / "a.rec") == 1
    assert "zebra" in capsys.readouterr().err
    for set_ in ("all", "trainval,test"):
        assert run("check", devkit, "--classes", "auto", "--set", set_) == 0
        ready = capsys.readouterr().out.splitlines()[-2:]
        assert ready == ["Ready to convert", "3 of 3 images (trainval, test)"]
    assert run("convert", devkit, tmp_path / "a.rec", "--classes", "auto", "--set", "test") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "1 of 3 images (test); trainval, 2 images, not converted: --set test,trainval"


def test_every_set_has_each_image_once(tmp_path: Path) -> None:
    devkit = small(tmp_path / "d", PLAIN_BOX, count=4)
    listed(devkit, {"train": "0", "val": "1", "trainval": "0 1", "test": "2"})
    assert check(devkit, set="all", jobs=1).image_sets == {"train": 1, "val": 1, "test": 1}
    found = check(devkit, jobs=1).scope
    assert (found.sets, found.others) == ({"trainval": 2}, {"test": 1})
    listed(devkit, {"trainval": "0 1 3"})
    assert check(devkit, set="all", jobs=1).image_sets == {"trainval": 3, "test": 1}
    listed(devkit, {"all": "3"})
    assert check(devkit, set="all", jobs=1).image_sets == {"all": 1}


@pytest.mark.parametrize("options", [{}, {"--on-error": "skip"}])
def test_the_verdict_is_that_of_convert(
    tmp_path: Path, options: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    devkit = listed(small(tmp_path / "d", PLAIN_BOX), {"trainval": "0 1 absent"})
    words = [word for pair in options.items() for word in pair]
    code = run("check", devkit, *words)
    out = capsys.readouterr().out
    assert ("Ready to convert" in out) == (code == 0) == bool(options)
    assert out.endswith("2 of 3 images (trainval); 1 left out\n")
    assert run("convert", devkit, tmp_path / "a.rec", *words) == code
    assert (tmp_path / "a.rec").exists() == (code == 0)


def two_sets(root: Path, source: str) -> Path:
    """A data set of this format with two pictures in train and the same two in val."""
    pictures = [Picture(40, 30, [(0, 4, 4, 20, 20)])] * 2
    path = WRITERS[source](root, pictures)
    if source == "voc":
        listed(root, {"train": "000 001", "trainval": "000 001", "test": "001"})
    elif source == "coco":
        shutil.copytree(root / "train2017", root / "val2017")
        file = root / "annotations" / "instances_train2017.json"
        shutil.copy(file, file.with_name("instances_val2017.json"))
    elif source == "yolo":
        for name in ("images", "labels"):
            shutil.copytree(root / name / "train", root / name / "val")
        (root / "data.yaml").write_text((root / "data.yaml").read_text() + "val: images/val\n")
    elif source == "image-json":
        shutil.copytree(root / "train", root / "val")
        shutil.copytree(root / "train_annotation", root / "val_annotation")
    return path


SETS = {
    "voc": ("trainval", {}),
    "coco": ("train2017", {"val2017": 2}),
    "yolo": ("train", {"val": 2}),
    "image-json": ("train", {"val": 2}),
    "augmented-manifest": ("train.manifest", {}),
}


@pytest.mark.parametrize("source", SETS)
def test_every_set_in_every_format_and_command(tmp_path: Path, source: str) -> None:
    path = two_sets(tmp_path / "d", source)
    options: dict[str, Any] = {"classes": "auto", "jobs": 1}
    default, others = SETS[source]
    found = check(path, **options)
    result = recpack.convert(path, tmp_path / "a.rec", **options)
    assert found.scope == result.scope
    assert (found.scope.sets, found.scope.others) == ({default: 2}, others)
    assert result.manifest.source == {"format": source, "sets": [default], "years": []}
    every = check(path, set="all", **options)
    assert sum(every.image_sets.values()) == 2 + sum(others.values()) + (source == "voc")
    assert every.scope.others == {}
    every_result = recpack.convert(path, tmp_path / "b.rec", set="all", **options)
    assert every_result.manifest.num_samples == every.samples
    rows = recpack.write_list(path, tmp_path / "c.lst", set="all", **options)
    assert rows.manifest.source == every_result.manifest.source
    if others:
        pasted = check(path, set=found.scope.every_set, **options)
        assert pasted.samples == every.samples


def test_a_set_that_is_not_read_can_be_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = two_sets(tmp_path / "d", "coco")
    (root / "annotations" / "instances_val2017.json").write_text("{")
    assert run("check", root) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "2 images (train2017); val2017, not converted: --set train2017,val2017"


def test_years_are_named(devkit: Path) -> None:
    result = recpack.convert(devkit, recpack.MemorySink(), dry_run=True)
    sets = ["VOC2007 trainval", "VOC2012 trainval"]
    assert result.manifest.source == {"format": "voc", "sets": sets, "years": ["2007", "2012"]}
    text = result.manifest.to_json()
    assert recpack.Manifest.from_json(text) == result.manifest
    old = json.loads(text)
    del old["source"]
    assert recpack.Manifest.from_json(json.dumps(old)).source == {}


def test_a_report_of_a_run_that_fails_says_so(tmp_path: Path) -> None:
    devkit = small(tmp_path / "d", PLAIN_BOX)
    report = tmp_path / "r.json"
    (tmp_path / "a.rec").write_text("mine")
    assert run("convert", devkit, tmp_path / "a.rec", "--report", report) == 1
    found = json.loads(report.read_text())
    assert "a.rec" in found["error"]
    assert found["problems"] == []
    assert run("convert", devkit, tmp_path / "b.rec", "--jobs", "0", "--report", report) == 2
    assert "must be at least 1" in json.loads(report.read_text())["error"]
    assert run("convert", devkit, tmp_path / "b.rec", "--report", report) == 0
    assert "error" not in json.loads(report.read_text())


@pytest.mark.parametrize(
    ("classes", "lines"),
    [
        (None, ["2 classes are not in Pascal VOC's list: RBC, Platelets. Run again with "
                "--classes auto",
                "unknown class 'RBC': 2 objects", "unknown class 'Platelets': 1 object"]),
        ("RBC,Platlets", ["1 class is not in the chosen classes: Platelets. Run again with "
                          "--classes RBC,Platelets",
                          "unknown class 'Platelets': 1 object; --classes has 'Platlets', which no "
                          "object uses; did you mean 'Platelets'?"]),
        ("RBC,WBC", ["1 class is not in the chosen classes: Platelets. Run again with "
                     "--classes auto", "unknown class 'Platelets': 1 object"]),
    ],
)  # fmt: skip
def test_a_failure_begins_with_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], classes: str | None, lines: list[str]
) -> None:
    devkit = small(tmp_path / "d", box_xml("RBC", (6, 4, 30, 20)), count=2)
    (devkit / "JPEGImages" / "2.jpg").write_bytes(jpeg(60, 40, 2))
    write(devkit, "2", box_xml("Platelets", (6, 4, 30, 20)))
    words = ["--classes", classes] if classes else []
    assert run("convert", devkit, tmp_path / "a.rec", *words) == 1
    err = capsys.readouterr().err.removeprefix("recpack convert: ").splitlines()
    assert err[: len(lines)] == lines
    run("check", devkit, *words)
    assert [line for line in capsys.readouterr().out.splitlines() if "did you mean" in line] == [
        f"  Platelets: {line.partition('; ')[2]}" for line in lines if "did you mean" in line
    ]
    remedy = lines[0].rpartition(" ")[2]
    assert run("convert", devkit, tmp_path / "a.rec", "--classes", remedy) == 0


def test_problems_are_grouped_with_one_remedy_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    devkit = small(tmp_path / "d", PLAIN_BOX, count=30)
    for number in range(12):
        (devkit / "JPEGImages" / f"{number}.jpg").unlink()
    write(devkit, "12", box_xml("cat", ("x", 1, 2, 3)))
    assert run("convert", devkit, tmp_path / "a.rec", "--negatives", "error") == 1
    err = capsys.readouterr().err.splitlines()
    assert err[0] == (
        "recpack convert: 13 files: 12 image-missing, 1 number-bad. To leave out such files: "
        "--on-error skip"
    )
    assert [line for line in err if "remedy" in line] == [
        "    remedy: add it, or remove its id from the list",
        "    remedy: write it as a plain decimal",
    ]
    assert "    … and 2 more" in err
    assert err[-2:] == [
        "--report FILE lists all",
        "more: recpack explain image-missing number-bad",
    ]
    assert run("convert", devkit, tmp_path / "a.rec", "--on-error", "skip") == 0


@pytest.mark.parametrize(
    ("wrong", "missing", "words", "samples"),
    [
        (3, 0, "If the images were scaled after annotation: --size-mismatch rescale", 3),
        (
            2, 1, "If the images were scaled after annotation: --size-mismatch rescale; "
            "to leave out the others: --on-error skip", 2,
        ),
        (1, 2, "", 0),
        (0, 2, "To leave out such files: --on-error skip", 1),
    ],
)  # fmt: skip
def test_the_first_line_names_what_cures_most_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
    wrong: int, missing: int, words: str, samples: int,
) -> None:  # fmt: skip
    devkit = small(tmp_path / "d", PLAIN_BOX)
    for number in range(wrong):  # the image has half the size of what was annotated
        text = xml(120, 80, box_xml("cat", (60, 40, 119, 79)))
        (devkit / f"Annotations/{number}.xml").write_text(text)
    for number in range(wrong, wrong + missing):
        (devkit / f"JPEGImages/{number}.jpg").unlink()
    assert run("convert", devkit, tmp_path / "a.rec") == 1
    first = capsys.readouterr().err.splitlines()[0]
    assert first.endswith(words or "1 size-rescale"), first
    options = [
        word
        for word in words.replace(";", "").split()
        if word in ("skip", "rescale") or word[:2] == "--"
    ]
    if words:  # what it says works
        assert run("convert", devkit, tmp_path / "a.rec", *options) == 0
        assert recpack.Manifest.read(tmp_path / "a.json").num_samples == samples


def test_a_wrong_extension_is_told_in_words(tmp_path: Path) -> None:
    devkit = small(tmp_path / "d", PLAIN_BOX, count=1)
    (devkit / "JPEGImages" / "0.jpg").write_bytes(encoded(".png", pixels()))
    (problem,) = check(devkit, jobs=1).problems
    assert "(JPEGImages/0.jpg is png)" in str(problem)


@pytest.fixture
def chromium() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium; .ci/run installs it")
        pytest.skip("no Chromium on this machine")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run")  # fmt: skip

    def browse(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [str(browser), *flags, *arguments], capture_output=True, check=True, timeout=120
        )

    return browse


@pytest.mark.slow
def test_the_page_in_a_browser(tmp_path: Path, chromium: Callable[..., Any]) -> None:
    devkit = everything_wrong(tmp_path / "d")
    page = tmp_path / "check.html"
    assert run("check", devkit, "--set", "all", "--quiet", "--report", page) == 1
    text = page.read_text()
    # one file, no network: nothing but inline data is referred to
    assert set(re.findall(r'(?:href|src)="([^:"]*:)', text)) == {"data:"}
    assert "<script" not in text
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", text)
    assert len(pictures) > 20
    for picture in pictures:
        assert max(Image.open(io.BytesIO(base64.b64decode(picture))).size) <= 320
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    dom = chromium(profile, "--dump-dom", page.as_uri()).stdout.decode()
    assert dom.count("<figure>") == text.count("<figure>") > 20
    assert "image-truncated" in dom
    shot = tmp_path / "shot.png"
    chromium(profile, f"--screenshot={shot}", "--window-size=1200,4000", page.as_uri())
    colours = np.array(Image.open(shot).convert("RGB")).reshape(-1, 3).astype(int)

    def drawn(red: int, green: int, blue: int) -> int:
        return int((np.abs(colours - (red, green, blue)).max(1) < 12).sum())

    assert drawn(0x3B, 0x6F, 0xB6) > 2000  # bars
    assert drawn(0x16, 0xA3, 0x4A) > 200  # boxes that are fine
    assert drawn(0xE5, 0x34, 0x2B) > 50  # boxes that are not


def test_the_page_shows_nothing_from_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    devkit = lay_out(tmp_path / "d", Case(image=None))
    (devkit / "JPEGImages" / "odd.jpg").symlink_to(tmp_path / "secret.jpg")
    assert run("check", devkit, "--quiet", "--report", tmp_path / "r.html") == 1
    text = (tmp_path / "r.html").read_text()
    assert "path-unsafe" in text
    assert "data:image" not in text


def test_names_from_strangers_are_text_on_the_page(tmp_path: Path) -> None:
    bad = xml(60, 40, box_xml("&lt;script&gt;alert(1)&lt;/script&gt;", (6, 4, 30, 20)))
    devkit = lay_out(tmp_path / "d", Case(bad))
    assert run("check", devkit, "--quiet", "--report", tmp_path / "r.html") == 1
    text = (tmp_path / "r.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


PLAIN_BOX = box_xml("cat", (6, 4, 30, 20))
BMP = encoded(".bmp", pixels())
BOXES = {"empty": 2, "unknown": 2, "text": 2, "nothing": 0, "malformed": 0}
"""Boxes that an annotation holds, where that is not 1."""

DEFECTS: dict[str, Callable[[Path, str], object]] = {
    "fine": lambda folder, id_: write(folder, id_, PLAIN_BOX),
    "clipped": lambda folder, id_: write(folder, id_, box_xml("cat", (-9, 4, 70, 20))),
    "swapped": lambda folder, id_: write(folder, id_, box_xml("cat", (30, 20, 6, 4))),
    "empty": lambda folder, id_: write(folder, id_, PLAIN_BOX, box_xml("cat", (6, 4, 6, 9))),
    "off": lambda folder, id_: write(folder, id_, box_xml("dog", (99, 99, 120, 120))),
    "unknown": lambda folder, id_: write(folder, id_, PLAIN_BOX, box_xml("kat", (6, 4, 9, 9))),
    "text": lambda folder, id_: write(folder, id_, PLAIN_BOX, box_xml("cat", ("a", 4, 9, 9))),
    "nothing": lambda folder, id_: write(folder, id_),
    "malformed": lambda folder, id_: (folder / "Annotations" / f"{id_}.xml").write_text("<"),
    "no image": lambda folder, id_: (folder / "JPEGImages" / f"{id_}.jpg").unlink(),
    "cut": lambda folder, id_: (folder / "JPEGImages" / f"{id_}.jpg").write_bytes(jpeg()[:-9]),
    "bmp": lambda folder, id_: (folder / "JPEGImages" / f"{id_}.jpg").write_bytes(BMP),
    "broken bmp": lambda folder, id_: (folder / "JPEGImages" / f"{id_}.jpg").write_bytes(
        BMP[:60]
    ),
}  # fmt: skip


def write(folder: Path, id_: str, *objects: str) -> None:
    (folder / "Annotations" / f"{id_}.xml").write_text(xml(60, 40, *objects))


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(sorted(DEFECTS)), min_size=1, max_size=12),
    st.fixed_dictionaries(
        {
            "box_policy": st.sampled_from(["repair", "drop", "error"]),
            "negatives": st.sampled_from(["drop", "keep", "error"]),
            "unknown_class": st.sampled_from(["error", "skip"]),
            "strict": st.booleans(),
        }
    ),
)
def test_what_goes_in_comes_out_or_is_reported(
    tmp_path_factory: pytest.TempPathFactory, defects: list[str], options: dict[str, Any]
) -> None:
    """in = out + reported, for images and for the boxes of the images that came out."""
    folder = tmp_path_factory.mktemp("defects")
    for name in ("Annotations", "JPEGImages"):
        (folder / name).mkdir()
    for number, defect in enumerate(["fine", *defects]):
        id_ = f"{number:02d}"
        (folder / "JPEGImages" / f"{id_}.jpg").write_bytes(jpeg(60, 40, number))
        (folder / "Annotations" / f"{id_}.xml").write_text(PLAIN)
        DEFECTS[defect](folder, id_)
    result, records = pack(folder, on_error="skip", **options)
    dropped = {
        Path(problem.file).stem for problem in result.problems if problem.action == "dropped image"
    }
    assert len(records) + len(dropped) == len(defects) + 1
    assert sum(result.manifest.problems.get("dropped image", {}).values()) >= len(dropped)
    boxes_in = boxes_out = 0
    for number, defect in enumerate(["fine", *defects]):
        if f"{number:02d}" not in dropped:
            boxes_in += BOXES.get(defect, 1)
    for record in records:
        boxes_out += int((record.boxes[:, 0] >= 0).sum())
    lost = sum(
        problem.action == "dropped box" and Path(problem.file).stem not in dropped
        for problem in result.problems
    )
    assert boxes_in == boxes_out + lost
    shutil.rmtree(folder)


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from(sorted(DEFECTS.keys() - {"broken bmp"})), min_size=1, max_size=6),
    st.fixed_dictionaries(
        {
            "box_policy": st.sampled_from(["repair", "drop", "error"]),
            "negatives": st.sampled_from(["drop", "keep", "error"]),
            "on_error": st.sampled_from(["fail", "skip"]),
            "strict": st.booleans(),
        }
    ),
)
def test_check_refuses_what_convert_refuses(
    tmp_path_factory: pytest.TempPathFactory, defects: list[str], options: dict[str, Any]
) -> None:
    """All but images whose pixels are damaged: only packing decodes them."""
    folder = tmp_path_factory.mktemp("defects")
    for name in ("Annotations", "JPEGImages"):
        (folder / name).mkdir()
    for number, defect in enumerate(defects):
        (folder / "JPEGImages" / f"{number}.jpg").write_bytes(jpeg(60, 40, number % 2))
        DEFECTS["fine"](folder, str(number))
        DEFECTS[defect](folder, str(number))
    found = check(folder, jobs=1, **options)
    try:
        result = recpack.convert(folder, recpack.MemorySink(), jobs=1, **options)
    except recpack.DataError:
        assert found.refused
    else:
        assert not found.refused
        assert found.samples == result.manifest.num_samples
    shutil.rmtree(folder)


def test_histograms() -> None:
    assert histogram([1, 1, 2, 3, 9], [1, 2, 4, 6], whole=True) == {
        "1": 2, "2-3": 2, "4-5": 0, "≥ 6": 1
    }  # fmt: skip
    assert histogram([0.2, 0.5], [0.5, 1.5]) == {"< 0.5": 1, "0.5-1.5": 1}
    assert histogram([], [1, 2]) == {}
    assert str(Spread.of([3, 1, 2])) == "1 to 3, median 2"
    assert Spread.of([]) == Spread(0, 0, 0)
