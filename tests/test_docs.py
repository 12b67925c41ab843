"""Every command and snippet of the README and of the documentation runs, page by page, as a reader
would type it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tarfile
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import pytest
import yaml

import recpack
import train.cli
from recpack.storage.s3.objects import delete, put
from tests.cli.test_cli import run
from tests.conftest import Store
from tests.sinks.test_s3_stores import upload_tree
from tests.support.clusters import Dask, Ray, needs
from tests.support.datasets import Picture, make_classes, write_coco, write_yolo
from tests.support.devkits import jpeg, make_photos
from tests.support.exports import make_exports
from tests.support.faces import make_faces
from tests.support.jobs import put_model

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PAGES = [
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "decisions" not in path.parts  # nothing to type there
    and path.name not in ("commands.md", "options.md", "problems.md")  # made by make docs
    and path.parent.name != "generated"
    # tests/train/test_page.py types them
    and path.name not in ("hosting.md", "train-classification.md")
]
READERS = {"torch": "", "mxnet": "RECPACK_MXNET_PYTHON", "nvidia.dali": "RECPACK_DALI_PYTHON"}
"""Packages of frameworks, and what names a Python that has one, where that is not this Python."""
SHOWN = ("text", "{code-block}", "{image}", "{toctree}", "{raw}", "{eval-rst}", "{include}")
"""Blocks that are only looked at."""
SMALL = ("base_network=resnet-18", "image_shape=64", "mini_batch_size=32", "epochs=1")
"""What trainings on this machine are told beside what the page says: the last word counts."""
EXTRAS = set(
    tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
)
ANSWER = json.dumps({"prediction": [[0, 0.9, 0.25, 0.25, 0.75, 0.75]]}).encode()


def blocks(page: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and text."""
    return re.findall(
        r"^```(\S*)[^\n]*\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE
    )


def commands(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


class _Model(BaseHTTPRequestHandler):
    """An endpoint's answer, which moto can't give."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def model() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Model) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def bucket(devkit: Path, moto: str) -> Iterator[Store]:
    """With another devkit, which no page changes."""
    store = Store("moto", moto, "bucket")
    store.access.call("create_bucket", Bucket="bucket")
    upload_tree(store, devkit, "in/VOCdevkit/")
    for year in ("2007", "2012"):
        chosen = (devkit / f"VOC{year}/ImageSets/Main/trainval.txt").read_bytes()[:120]
        put(store.access, store.at(f"in/VOCdevkit/VOC{year}/ImageSets/Main/val.txt"), chosen)
    yield store
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: delete(store.access, store.at(key)), store.listing()))
    store.access.call("delete_bucket", Bucket="bucket")


def etags(store: Store) -> dict[str, str]:
    pages = store.access.attempt(
        lambda client: list(client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket))
    )
    return {one["Key"]: one["ETag"] for page in pages for one in page["Contents"]}


@pytest.fixture
def here(
    devkit: Path, bucket: Store, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """What the pages take for granted: data sets, a picture, a bucket with another devkit."""
    before = etags(bucket)
    for name, value in (
        ("AWS_ENDPOINT_URL", bucket.url), ("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", model),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    (tmp_path / "VOCdevkit").symlink_to(devkit)
    for name, year in (("06-Nov-2007", "VOC2007"), ("11-May-2012", "VOC2012")):
        with tarfile.open(tmp_path / f"VOCtrainval_{name}.tar", "w") as archive:
            archive.add(devkit / year, f"VOCdevkit/{year}")
    make_photos(tmp_path / "photos")
    pictures = [Picture(60, 40, [(0, 1, 2, 30, 40)]), Picture(50, 50, [(1, 5, 5, 20, 30)])]
    write_coco(tmp_path / "coco", pictures)
    train2017 = tmp_path / "coco/annotations/instances_train2017.json"
    train2017.with_name("instances_val2017.json").write_bytes(train2017.read_bytes())
    (tmp_path / "coco/val2017").symlink_to(tmp_path / "coco/train2017")
    write_yolo(tmp_path / "yolo", pictures)
    make_faces(tmp_path / "faces", side=112)
    make_classes(tmp_path)
    make_exports(tmp_path)
    (tmp_path / "cat.jpg").write_bytes(jpeg())
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for key in etags(bucket).keys() - before.keys():
        delete(bucket.access, bucket.at(key))
    assert etags(bucket) == before


@pytest.mark.parametrize("page", PAGES)
def test_a_page(page: str, here: Path, request: pytest.FixtureRequest) -> None:
    ran = 0
    names: dict[str, Any] = {"__name__": "__main__"}
    for language, text in blocks(page):
        if language == "python":
            if package := next((one for one in READERS if f"import {one}" in text), None):
                elsewhere(package, text)
            else:
                exec(compile(text, page, "exec"), names)
            ran += 1
        elif language == "sh":
            for words in commands(text):
                type_in(words, here, request)
                ran += 1
        elif language == "json":
            # the one JSON document of the pages is a manifest
            recpack.convert("VOCdevkit", "shown.rec", overwrite=True)
            assert list(json.loads(text)) == list(json.loads(Path("shown.json").read_text()))
        elif language == "yaml":
            # the one YAML document of the pages is a job of Kubernetes
            (told,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
            type_in(["recpack", *told["args"]], here, request)
        else:
            assert language in SHOWN, language
    assert ran or page in ("docs/design.md", "docs/why.md") or "/reference/" in page


def elsewhere(package: str, text: str) -> None:
    """Run a snippet in a process of its own, with the Python that has the package."""
    python = sys.executable
    if variable := READERS[package]:
        python = os.environ.get(variable, "")
        if not python:
            pytest.skip(f"no {package} here; {variable} may name a Python that has it")
    else:
        needs(package)
    environment = os.environ | {"PYTHONPATH": os.fspath(ROOT)}
    subprocess.run([python, "-W", "ignore", "-c", text], check=True, env=environment)


def type_in(words: list[str], here: Path, request: pytest.FixtureRequest) -> None:
    if words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
    elif words[:2] == ["pip", "install"]:
        (what,) = words[2:]  # make does
        extras = re.fullmatch(r"\.(?:\[(.*)\])?", what)
        assert extras
        assert set(filter(None, (extras[1] or "").split(","))) <= EXTRAS
    elif words[0] in ("docker", "aws"):
        in_a_container(words, here, request)
    elif words[0] == "recpack-train" and {"--local", "export"} & set(words):
        needs("torch")
        on_this_machine(words, request)
    elif words[0] == "recpack-train":
        words = [word.replace("8080", free_port()) for word in words]
        assert train.cli.main(words[1:]) == 0, words
        if words[1] == "fit":
            output, job = (words[words.index(name) + 1] for name in ("--output", "--job-name"))
            put_model(boto3.client("s3", region_name="us-east-1"), output, job)
    elif "dask" in words:
        dask: Dask = request.getfixturevalue("dask")  # of this environment
        on_a_cluster(words, "tcp://scheduler:8786", dask.address)
    elif "ray" in words:
        ray: Ray = request.getfixturevalue("ray")
        on_a_cluster(words, "head:6379", ray.address)
    else:
        assert words[0] == "recpack"
        for old in {"pack": ["train.rec", "train.idx", "train.json"], "list": ["train.lst"]}.get(
            words[1], []
        ):
            (here / old).unlink(missing_ok=True)  # the tour makes the same files in two ways
        assert run(*words[1:]) == 0, words


def in_a_container(words: list[str], here: Path, request: pytest.FixtureRequest) -> None:
    """What the image for jobs is told; its entry point is recpack."""
    if words[0] == "aws":
        words = ["recpack", *json.loads(words[-1])["command"]]
    elif words[1] == "run":
        words = words[words.index("recpack") :]
    if words[0] == "recpack":
        type_in(words, here, request)
    else:
        assert (ROOT / words[words.index("-f") + 1]).is_file()


def on_this_machine(words: list[str], request: pytest.FixtureRequest) -> None:
    """In a process of its own, which for ``deploy`` lives as long as the test."""
    start = [sys.executable, "-c", "from recpack.cli.train import console; console()"]
    words = [word.replace("8080", free_port()) for word in words]
    if words[1] == "fit":
        words += [part for pair in SMALL for part in ("--set", pair)]
    # other tests run beside it, and torch's threads wait for each other
    process = subprocess.Popen([*start, *words[1:]], env=os.environ | {"OMP_NUM_THREADS": "1"})
    if words[1] != "deploy":
        assert process.wait() == 0, words
        return

    def end() -> None:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)

    request.addfinalizer(end)
    while not is_healthy(free_port()):
        assert process.poll() is None
        time.sleep(0.1)


@cache
def free_port() -> str:
    """One that stays the same, for the server of the pages."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def is_healthy(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping") as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def on_a_cluster(words: list[str], named: str, address: str) -> None:
    """In a process of its own: ray leaves sockets open."""
    words = [address if word == named else word for word in words]
    subprocess.run([sys.executable, "-m", "recpack", *words[1:]], check=True)


def test_the_snippet_in_python_says_what_it_should(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = "docs/howto/in-python.md"
    (snippet,) = (text for language, text in blocks(page) if language == "python")
    exec(compile(snippet, page, "exec"), {})
    out = capsys.readouterr().out
    assert out.startswith("120 ")
    assert (here / "pets.json").exists()
    assert "proof='checksum'" in out


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 500
    links = re.findall(r"\]\(([^)#]+)", text)
    assert len(links) >= 6
    assert all((ROOT / link).exists() for link in links if "://" not in link)


def test_the_index_names_each_page_once() -> None:
    trees = re.findall(r"```\{toctree\}\n(.*?)```", (ROOT / "docs/index.md").read_text(), re.DOTALL)
    named = [line for tree in trees for line in tree.splitlines() if line and line[0] != ":"]
    pages = (path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md"))
    others = {"decisions", "generated", "_build"}  # these have a page of their own, those are made
    found = {os.fspath(page.with_suffix("")) for page in pages if page.parts[0] not in others}
    made = {f"reference/{name}" for name in ("commands", "options", "problems")}  # by docs/make.py
    assert sorted([*named, "index"]) == sorted({*found, *made, "decisions/index"})


def test_the_reference_has_every_public_name() -> None:
    text = (ROOT / "docs/reference/python.md").read_text()
    others = {"VOC_CLASSES", "train", *(name for name in dir(recpack) if name.endswith("Error"))}
    assert not [
        name
        for name in {*dir(recpack)} - others
        if name[0] != "_" and not re.search(rf"^\.\. auto\w+:: recpack\.{name}\b", text, re.M)
    ]


def test_make_docs_finds_what_is_broken(tmp_path: Path) -> None:
    """The link check of ``make docs``, which runs in a process of its own."""
    script = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[1])\nimport make\n"
        "make.PAGES = Path(sys.argv[2])\nprint(*make.broken_links(), sep='\\n')\n"
    )
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here">1</a><a href="#there">2</a><a href="b.html">3</a>'
        '<a href="c.html#x">4</a><a href="http://example.org">5</a><img src="no.png"></p>'
    )
    (tmp_path / "c.html").write_text('<p id="y">')
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT / "docs"), str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert sorted(done.stdout.splitlines()) == [
        "a.html: #there: no such heading",
        "a.html: b.html: no such file",
        "a.html: c.html#x: no such heading",
        "a.html: no.png: no such file",
    ]


def test_the_tests_that_the_promises_name_exist() -> None:
    for page in ("docs/reference/promises.md", "tests/README.md"):
        named = set(re.findall(r"`((?:\w+/)*test_\w+\.py)`", (ROOT / page).read_text()))
        assert len(named) > 20
        assert not [name for name in named if not (ROOT / "tests" / name).is_file()], page
