"""Rules of the house: the public surface, the direction of imports, what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import recpack

ROOT = Path(recpack.__file__).parent

LEVELS = [
    {
        "errors",
        "texts",
        "progress",
        "distributions",
        "checksums",
        "files",
        "annotation",
        "words",
        "formats",
    },
    {
        "problems",
        "headers",
        "s3.location",
        "s3.retry",
        "trees.base",
        "forked",
        "sources.voc_plain",
        "daskbackend",
    },
    {"sample", "s3.access", "trees.local"},
    {"config", "s3.objects"},
    {"s3.uploads", "s3.file", "places", "trees.ahead", "trees.tarindex"},
    {"s3.cleanup", "s3.loopback", "trees.archive", "trees.s3"},
    {"trees.tar"},
    {"trees.opening"},
    {"labels", "recordio", "image", "boxes", "sources.voc_xml"},
    {
        "lst",
        "plan",
        "reader",
        "manifest",
        "parallel",
        "sinks.base",
        "sources.voc_layout",
        "sources.voc_annotation",
    },
    {"sinks.file_writer", "sinks.memory", "sinks.uploader", "cluster"},
    {"sinks.file", "sinks.proof"},
    {"sinks.s3", "outputs"},
    {"judge", "duplicates", "split"},
    {"sources.dataset"},
    {"sources.voc", "sources.given"},
    {"sources.coco", "sources.yolo_layout", "sources.sagemaker"},
    {"sources.yolo"},
    {"sources.opening"},
    {"packer", "scan", "measuring", "writer", "inspection", "indexing"},
    {"demands"},
    {"verification", "unpacking", "preview", "merging"},
    {"assembly", "preparation", "targets"},
    {"exporting"},
    {"conversion", "checking"},
    {"terminal", "page", "demo", "downloading"},
    {"report"},
    {"commands", "rec_commands", "option_groups"},
    {"arguments"},
    {"cli"},
]
"""Modules import from lower levels only; readers and sinks never import each other."""


def module_names() -> list[str]:
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in ROOT.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    )


def imports_of(module: str) -> set[str]:
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("recpack."):
            found.add(node.module.removeprefix("recpack."))
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("recpack.") for alias in node.names)
    return found


def test_every_module_has_its_level() -> None:
    assert sorted(set().union(*LEVELS)) == module_names()


@pytest.mark.parametrize("module", module_names())
def test_imports_go_one_way(module: str) -> None:
    level = next(i for i, names in enumerate(LEVELS) if module in names)
    lower = set().union(*LEVELS[:level])
    siblings = {"lst": {"labels"}, "errors": {"problems"}}.get(module, set())
    if module == "recordio":
        siblings = {"labels"}
    assert imports_of(module) <= lower | siblings


def test_opencv_is_imported_where_pixels_are() -> None:
    users = [path.name for path in ROOT.rglob("*.py") if "import cv2" in path.read_text()]
    assert sorted(users) == ["image.py", "preview.py"]


def test_the_public_surface() -> None:
    assert recpack.__all__ == [
        "__version__", "AnnotationError", "Check", "ClassMap", "ConfigError", "DataError",
        "FileSink", "ImageError", "ListError", "Manifest", "MemorySink", "Options", "Problem",
        "Progress", "Record", "RecordError", "RecordReader", "RecordWriter", "RecpackError",
        "Result", "S3Sink", "SinkError", "VOC_CLASSES", "Verification", "check", "convert",
        "pack", "verify", "write_list",
    ]  # fmt: skip
    for name in recpack.__all__:
        assert getattr(recpack, name) is not None
    assert dir(recpack) == sorted(recpack.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        recpack.nonsense  # noqa: B018


def test_names_stay_callable_when_modules_are_imported() -> None:
    import recpack.conversion
    import recpack.packer

    assert callable(recpack.convert)
    assert callable(recpack.pack)


def test_importing_recpack_imports_nothing_heavy() -> None:
    script = "import sys, recpack; print(*sorted(set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"numpy", "cv2", "boto3", "botocore", "joblib", "lxml", "rich"}
    assert not heavy & set(run.stdout.split())


def test_help_needs_no_heavy_import() -> None:
    script = (
        "import sys\nfrom recpack.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('numpy' in sys.modules, file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == "False"


def test_a_change_of_the_version_has_one_home() -> None:
    text = (ROOT.parent / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in text


def test_train_knows_the_manifest_and_nothing_else_of_recpack() -> None:
    for path in (ROOT.parent / "train").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and "recpack" in node.module:
                assert node.module == "recpack.manifest"
            if isinstance(node, ast.Import) and any("recpack" in name.name for name in node.names):
                assert path.name == "cli.py"  # evaluate reads a .rec, by the public reader


def test_importing_train_imports_nothing_heavy() -> None:
    script = "import sys, train; print(*sorted(set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"numpy", "cv2", "boto3", "botocore", "matplotlib", "sagemaker", "recpack.manifest"}
    assert not heavy & set(run.stdout.split())
