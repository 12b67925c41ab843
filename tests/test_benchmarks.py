"""The suite's arithmetic, and one small run of it; what it measures is no test's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import recpack
from benchmarks import cores, reading
from benchmarks.coordinator import COORDINATOR, FIRST, WORKERS
from benchmarks.data import draw, first_images, make_devkit, make_records
from benchmarks.formats import make_formats
from benchmarks.measure import Claim, Measurement, Table, Timing, commands, measure
from benchmarks.report import Section, compare, markdown, plot, to_json
from benchmarks.s3 import CREDENTIALS, store
from benchmarks.setting import Setting
from recpack.scanning.run import scan_dataset
from recpack.scanning.settings import ScanSettings
from recpack.sources.open import open_dataset
from recpack.sources.selection import Selection
from recpack.storage.s3.client import S3Client
from tests.support.clusters import needs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Suites set the credentials of their store for the whole process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def section(*medians: float, claims: tuple[Claim, ...] = ()) -> Section:
    names = "abcd"[: len(medians)]
    timings = [Timing(n, m, m - 0.1, m + 0.1, m) for n, m in zip(names, medians, strict=True)]
    return Section.of(Table("table", {}, claims), timings)


def test_rounds_are_taken_in_turns() -> None:
    calls = []

    def work(name: str, *seconds: float) -> tuple[str, object]:
        values = iter(seconds)

        def run() -> Measurement:
            calls.append(name)
            return Measurement(next(values), 1.0)

        return name, run

    works = dict([work("a", 99, 3, 1, 2), work("b", 99, 5, 5, 8)])
    assert measure(works, 3) == [Timing("a", 2, 1, 3, 1.0), Timing("b", 5, 5, 8, 1.0)]
    assert calls == ["a", "b"] * 4


def test_claims() -> None:
    claims = (
        Claim("sum", ["a", "b"], ["c"], least=3),
        Claim("net", ["b"], ["c"], less=["a"], fast_less=["a"], factor=0.5, most=1),
        Claim("unmeasured", ["a"], ["nothing"]),
    )
    found = section(1.0, 6.0, 2.0, claims=claims)
    assert [(claim.text, ratio) for claim, ratio in found.claims] == [("sum", 3.5), ("net", 2.5)]
    text = markdown({"command": "x", "cores": 2}, [found])
    assert "| sum | 3.50 × | 3 × or more |" in text
    assert "| net | 2.50 × | 1 × or less: **missed** |" in text
    assert "| b | 6.000 | 5.900 to 6.100 | 6.00 | 6.00 |" in text


def test_figures_that_works_report(tmp_path: Path) -> None:
    line = "import os; print('more'); print('{\"start s\":', os.environ['STARTED'], '}')"
    reporting = commands([sys.executable, "-c", line], reports=True)()
    assert reporting.more["start s"] > 0
    runs = [Measurement(9.0, 9.0, {"own s": own}) for own in (5.0, 1.0, 2.0)]
    timings = [Timing.of("many", runs), Timing("few", 3.0, 3.0, 3.0, 3.0)]
    claims = [
        Claim("an image", ["many"], [], figure="own s", unit="ms", factor=10, most=19),
        Claim("not reported", ["few"], ["many"], figure="own s"),
    ]
    found = Section.of(Table("table", {}, claims), timings)
    text = "\n".join(found.lines())
    assert "| CPU s | own s | × the first |" in text
    assert "| 9.00 | 2.000 | 1.00 |\n" in text
    assert "| 3.00 | | 0.33 |\n" in text
    assert "| an image | 20.00 ms | 19 ms or less: **missed** |" in text
    assert "not reported" not in text
    (tmp_path / "old.json").write_text(to_json({}, [found]))
    assert len(list(compare(tmp_path / "old.json", [found]))) == 4


def test_long_works_have_no_round_before() -> None:
    runs: list[int] = []

    def work() -> Measurement:
        runs.append(1)
        return Measurement(len(runs), 1.0)

    assert measure({"a": work}, 7, 2) == [Timing("a", 1.5, 1, 2, 1.0)]


def test_things_a_second() -> None:
    timings = [Timing(name, 2.0, 1.0, 3.0, 1.0) for name in ("steps", "slowest")]
    lines = list(Section.of(Table("table", {}, counts={"steps": 64}), timings).lines())
    assert lines[1].endswith("| × the first | per s |")
    assert lines[3].endswith("| 1.00 | 32.0 |")
    assert lines[4].endswith("| 1.00 | |")


def test_a_run_compared_with_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(to_json({}, [section(1.0, 6.0)]))
    rows = list(compare(tmp_path / "old.json", [section(1.15, 3.0, 9.0)]))[2:]
    assert rows == [
        "| table: a | 1.000 | 1.150 | 1.15 |  |",
        "| table: b | 6.000 | 3.000 | 0.50 | **changed** |",
    ]


def test_processes_are_timed_without_their_old_outputs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    work = commands([sys.executable, "-c", f"open({str(out)!r}, 'x')"], fresh=[out])
    assert work().cpu > 0
    assert work().seconds > 0
    with pytest.raises(RuntimeError, match="no good"):
        commands([sys.executable, "-c", "raise SystemExit('no good')"])()


def test_the_data_is_sound(tmp_path: Path) -> None:
    whole = make_devkit(tmp_path / "whole", 30)
    part = first_images(whole, tmp_path / "part", 12)
    for root, count in ((whole, 30), (part, 12), (part, 12)):
        dataset = open_dataset(root, Selection(), S3Client())
        scan = scan_dataset(dataset, ScanSettings(jobs=1))
        assert (len(scan.samples), scan.problems) == (count, [])
    sizes = scan.samples.image_bytes
    assert 30_000 < sizes.mean() < 70_000


def test_the_drawn_records_are_sound(tmp_path: Path) -> None:
    pictures = draw(3)
    assert pictures == draw(3)
    manifest = make_records(tmp_path / "drawn.rec", pictures, 7)
    with recpack.RecordReader(tmp_path / "drawn.rec") as records:
        images = [record.image_bytes for record in records]
    assert images == [pictures[number % 3][0] for number in range(7)]
    assert manifest.classes == ("ball", "box", "cone")


def test_the_formats_hold_the_same_data(tmp_path: Path) -> None:
    devkit = make_devkit(tmp_path / "devkit", 30)
    root = make_formats(devkit, tmp_path / "formats")
    expected = recpack.check(devkit, jobs=1)
    for source in ("coco", "yolo", "image-json"):
        found = recpack.check(root, source_format=source, jobs=1)
        assert (found.samples, found.objects, found.label_width) == (
            expected.samples, expected.objects, expected.label_width,
        )  # fmt: skip
        assert found.classes == expected.classes
        assert found.problems == []
    manifest = recpack.check(root / "train.manifest", images=root / "train", jobs=1)
    assert (manifest.objects, manifest.problems) == (expected.objects, [])


def test_a_small_run(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("cryptography")
    command = [
        sys.executable, "-m", "benchmarks", "--quick", "scan", "--rounds", "1", "--peers", "",
        "--work", str(tmp_path / "work"), "--output", str(tmp_path / "results"),
    ]  # fmt: skip
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "| parse and judge |" in run.stdout
    results = json.loads((tmp_path / "results" / "results.json").read_text())
    assert results["facts"]["rounds"] == 1
    (table,) = results["tables"].values()
    assert {timing["name"] for timing in table["timings"]} >= {"parse", "parse and judge"}
    names = {path.name for path in (tmp_path / "results").iterdir()}
    assert {"results.json", "results.md"} < names
    assert any(name.endswith(".png") for name in names)
    again = [*command, "--compare", str(tmp_path / "results" / "results.json")]
    run = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "one process: parse and judge |" in run.stdout
    subprocess.run([*command, "--only", "no such title"], cwd=ROOT, capture_output=True, check=True)
    assert json.loads((tmp_path / "results" / "results.json").read_text())["tables"] == {}


@pytest.mark.parametrize("processes", [1, 3])
def test_the_s3_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    monkeypatch.chdir(ROOT)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    devkit = make_devkit(tmp_path / "devkit", 30)
    made = recpack.convert(devkit, tmp_path / "made.rec", jobs=1).manifest
    with store("--processes", str(processes)) as url:
        for _ in range(2):
            recpack.convert(
                devkit, "s3://bucket/p/made.rec", endpoint_url=url, overwrite=True, jobs=1
            )
        kept = S3Client(url).call("get_object", Bucket="bucket", Key="_recpack/made.lst")
    assert kept["Body"].read() == (tmp_path / "made.lst").read_bytes()
    assert made.num_samples == 30


def test_the_suite_of_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(reading, "_SECONDS", 0.01)
    setting = Setting(
        memory=tmp_path, disk=tmp_path, environments=tmp_path, images=30, encoded=12, large=0,
        many=0, planned=0, growth=(), peers=(),
    )  # fmt: skip
    sections = [Section.of(table, measure(table.works, 1, 1)) for table in reading.tables(setting)]
    for section in sections:
        assert {timing.name for timing in section.timings} >= {"record_reader", "our_recordio"}
        for timing in section.timings:
            assert all(timing.more[column] > 0 for column in reading.COLUMNS)
        assert len(section.claims) == len(reading.COLUMNS)
    assert not (tmp_path / "raw").exists()


def test_the_suite_of_many_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("distributed")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(ROOT)
    peers = ("tfrecord",) if os.environ.get("RECPACK_MXNET_PYTHON") else ()
    setting = Setting(
        memory=tmp_path, disk=tmp_path, environments=tmp_path, images=30, encoded=0, large=0,
        many=60, planned=1_000, growth=(), peers=peers,
    )  # fmt: skip
    sections = []
    for table in cores.tables(setting):
        section = Section.of(table, measure(table.works, 1, 1))
        assert len(section.claims) == len(table.claims) > 0
        sections.append(section)
    assert len(sections) == 4 + 2 * len(peers)
    by_jobs = {timing.name: timing for timing in sections[0].timings}
    for kind in (cores.LIST, cores.FILE, cores.SINK, cores.PACK):
        two = by_jobs[f"{kind}, 2 jobs"]
        assert two.more[COORDINATOR] > 0 < two.more[WORKERS]
        assert two.more[COORDINATOR] + two.more[WORKERS] <= two.cpu
        assert 0 < two.more[FIRST] < two.median
    assert FIRST not in by_jobs[f"{cores.FILE}, 1 job"].more
    assert sections[-1].timings[0].more["bytes an image"] > 0
    plots = tmp_path / "plots"
    plots.mkdir()
    plot(plots, sections)
    assert len(list(plots.iterdir())) == len(sections)


def test_the_script_for_a_gpu_runs_without_one_too(tmp_path: Path) -> None:
    needs("torch")
    small = ("base_network=resnet-18", "image_shape=64", "mini_batch_size=4")
    command = [
        sys.executable, "-m", "benchmarks.gpu", "learning", "voc", "--pictures", "8", "--voc", "16",
        "--epochs", "1", *(f"--set={pair}" for pair in small), "--output", str(tmp_path / "gpu.md"),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "### 16 pictures, 5 epochs, then one more" in run.stdout
    curves = [line for line in run.stdout.splitlines() if line.startswith("- mAP: ")]
    assert [len(line.split(", ")) for line in curves] == [1, 5, 1]
    assert (tmp_path / "gpu.md").read_text() == run.stdout
