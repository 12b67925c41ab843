"""Rules of the house: the public surface, the direction of imports, what an import costs."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import recpack
from recpack.cli.parser import COMMANDS, Command
from recpack.settings import Settings, options_of

ROOT = Path(recpack.__file__).parent
REPOSITORY = ROOT.parent

FLOORS = (
    ("cli",),
    ("demo",),
    ("pipeline", "torch"),
    ("options", "mxrecordio"),
    ("packing", "records", "scanning"),
    ("sinks", "sources"),
    ("formats",),
    ("data",),
    ("storage",),
    ("workers",),
    ("drawing", "explanations", "problem_lines"),
    ("bars", "problem_list"),
    ("columns", "progress", "problems"),
    ("command_line", "markup", "settings"),
    ("arguments",),
    ("_version", "colours", "display", "errors", "train"),
)
"""Folders and modules of recpack, from the top floor down. Imports go down only, those inside
functions too; rooms of one floor know nothing of each other."""

GROUND = {("errors", "problems"), ("errors", "problem_list")}
"""The one exception: an error carries problems, which it imports when it is raised."""


def modules() -> dict[str, ast.Module]:
    """All modules by their dotted names below recpack, parsed."""
    paths = [path for path in ROOT.rglob("*.py") if path.name != "__main__.py"]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return {
        name: ast.parse(path.read_text())
        for name, path in zip(names, paths, strict=True)
        if name != "__init__"
    }


def imports(tree: ast.Module) -> set[str]:
    """The modules below recpack that a module imports, wherever the import stands."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("recpack."):
            found.add(node.module.removeprefix("recpack."))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module != "recpack", "name the module that holds it"
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("recpack") for alias in node.names)
    return found


def test_every_room_has_its_floor() -> None:
    rooms = {name.partition(".")[0] for name in modules()}
    assert sorted(room for floor in FLOORS for room in floor) == sorted(rooms)


def test_imports_go_down_only() -> None:
    height = {room: -number for number, floor in enumerate(FLOORS) for room in floor}
    seen = 0
    up = []
    for module, tree in modules().items():
        here = module.partition(".")[0]
        for other in imports(tree):
            there = other.partition(".")[0]
            seen += there != here
            if there != here and (here, there) not in GROUND and height[there] >= height[here]:
                up.append(f"{module} -> {other}")
    assert up == []
    assert seen > 200


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {name: imports(tree) for name, tree in modules().items()}
    arrows["errors"].discard("problems")
    while arrows:
        leaves = [name for name, others in arrows.items() if not others & arrows.keys()]
        assert leaves, f"a circle among {sorted(arrows)}"
        for leaf in leaves:
            del arrows[leaf]


def test_no_folder_hides_a_function() -> None:
    """``recpack.convert`` is a function, whatever was imported before."""
    taken = {path.name for path in ROOT.iterdir()} | {path.stem for path in ROOT.glob("*.py")}
    assert taken & set(recpack.__all__) == {"train"}  # which is the package, whoever asks
    for name in modules():
        if not name.startswith("torch") or importlib.util.find_spec("torch"):
            importlib.import_module(f"recpack.{name}")
    for name in recpack.__all__:
        assert not inspect.ismodule(getattr(recpack, name)) or name == "train"


def test_modules_are_read_at_one_sitting() -> None:
    paths = [*ROOT.rglob("*.py"), *(REPOSITORY / "train").rglob("*.py")]
    lengths = {path: len(path.read_text().splitlines()) for path in paths}
    assert {str(path): lines for path, lines in lengths.items() if lines > 400} == {}


def test_opencv_is_imported_where_pixels_are() -> None:
    users = [path.name for path in ROOT.rglob("*.py") if "import cv2" in path.read_text()]
    assert sorted(users) == [
        "drawing.py",
        "image_codec.py",
        "mxrecordio.py",
        "preview.py",
        "sheet.py",
    ]


def test_the_public_surface() -> None:
    assert recpack.__all__ == [
        "__version__", "AnnotationError", "Check", "ClassMap", "ConfigError", "DataError",
        "Detected", "FileSink", "ImageError", "Inspection", "ListError", "Manifest", "MemorySink",
        "Options", "Problem", "Progress", "Record", "RecordError", "RecordReader", "RecordWriter",
        "RecpackError", "Result", "S3Sink", "SinkError", "Unpacked", "VOC_CLASSES",
        "Verification", "check", "cleanup", "convert", "detect", "download", "filter", "inspect",
        "merge", "pack", "preview", "read_records", "reindex", "shuffle", "split", "train",
        "unpack", "verify", "write_list",
    ]  # fmt: skip
    for name in recpack.__all__:
        assert getattr(recpack, name) is not None
    assert dir(recpack) == sorted(recpack.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        recpack.nonsense  # noqa: B018


FUNCTIONS = {"list": "write_list", "index": "reindex", "s3-cleanup": "cleanup"} | dict.fromkeys(
    ("demo", "explain")
)
"""Commands whose function has another name; None for those that are no function."""


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_a_function_with_the_same_keywords(command: Command) -> None:
    name = FUNCTIONS.get(command.name, command.name)
    if name is None:
        return
    module, _, kind = command.settings.partition(":")
    settings: type[Settings] = getattr(importlib.import_module(f"recpack.{module}"), kind)
    parameters = inspect.signature(getattr(recpack, name)).parameters
    keywords = {
        parameter.name: parameter.default
        for parameter in parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    options = {one.name: one.default for one in options_of(settings)}
    assert options.items() <= keywords.items()
    assert keywords.keys() - options.keys() <= {"progress", "timeout", "output"}


def test_importing_recpack_imports_nothing_heavy() -> None:
    script = "import sys, recpack; print(*sorted(set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"numpy", "cv2", "boto3", "botocore", "joblib", "lxml", "rich", "dataclasses", "torch"}
    assert "recpack._version" in run.stdout.split()
    assert not heavy & set(run.stdout.split())


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], *([command.name, "--help"] for command in COMMANDS)]
)
def test_help_needs_no_heavy_import(words: list[str]) -> None:
    script = (
        "import sys\nfrom recpack.cli.app import main\n"
        f"try:\n    main({words})\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "recpack.cli.parser" in run.stderr.split()
    assert not {"numpy", "cv2", "botocore", "joblib", "torch"} & set(run.stderr.split())


def test_the_version_is_said_once() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert 'version = { attr = "recpack._version.__version__" }' in text
    assert recpack.__version__ not in text


DRAWING = {
    "Plate", "Tagged", "class_colour", "draw_boxes", "fitted", "plate_size", "write_plate",
}  # fmt: skip


def test_train_knows_the_manifest_and_how_recpack_draws_and_nothing_else_of_it() -> None:
    for path in (REPOSITORY / "train").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and "recpack" in node.module:
                if node.module in ("recpack.command_line", "recpack.display"):  # one for both
                    assert path.name.startswith("cli") or path.name == "service.py"
                    continue
                allowed = {"Manifest", "__version__"} if node.module == "recpack" else DRAWING
                assert {one.name for one in node.names} <= allowed
            if isinstance(node, ast.Import) and any("recpack" in name.name for name in node.names):
                # they read data, by public functions
                readers = ("documents.py", "evaluation.py", "local_planning.py")
                assert path.name in readers or path.parent.name == "ssd"
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                assert node.module.partition(".")[0] != "train", "another train may hide it"


def test_importing_train_imports_nothing_heavy() -> None:
    script = "import sys, train; print(*sorted(set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {
        "numpy", "cv2", "boto3", "botocore", "matplotlib", "sagemaker", "recpack.formats.manifest",
    }  # fmt: skip
    assert not heavy & set(run.stdout.split())


def test_the_launcher_needs_no_torch() -> None:
    """Whatever of train is imported, and however its command line is asked for help."""
    names = sorted(path.stem for path in (REPOSITORY / "train").glob("[a-z]*.py"))
    script = (
        "import importlib, sys\n"
        f"for name in {names}:\n    importlib.import_module('train.' + name)\n"
        "from train.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "train.cli" in run.stderr.split()
    assert not {"torch", "onnx", "waitress", "train.ssd"} & set(run.stderr.split())
