from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpack.columns import StringColumn
from recpack.data.labels import assemble_labels, detection_labels, detection_widths
from recpack.data.samples import Samples
from recpack.errors import ListError
from recpack.formats.lst import (
    CheckedLines,
    FloatFormatter,
    compress_rows,
    decompress_rows,
    format_rows,
    parse_rows,
)
from recpack.storage.paths import unsafe_path
from tests.support import strategies


def samples(labels: list[list[float]], paths: list[str] | None = None) -> Samples:
    n = len(labels)
    return Samples(
        "root",
        np.arange(n, dtype=np.int64),
        StringColumn(paths or [f"i/{k}.jpg" for k in range(n)]),
        np.array([v for label in labels for v in label], np.float32),
        np.cumsum([0, *map(len, labels)]).astype(np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.uint8),
        np.zeros(n, np.int64),
    )


def test_the_aws_text_and_full_precision() -> None:
    table = samples([[2, 5, 14, 0.1, 0.25, 1 / 3, 1], [3.0]])
    assert "".join(format_rows(table, 4)) == (
        "0\t2\t5\t14.0000\t0.1000\t0.2500\t0.3333\t1.0000\ti/0.jpg\n1\t3.0000\ti/1.jpg\n"
    )
    assert "".join(format_rows(table)) == (
        "0\t2\t5\t14.0\t0.1\t0.25\t0.33333334\t1.0\ti/0.jpg\n1\t3.0\ti/1.jpg\n"
    )
    assert decompress_rows(compress_rows(table, 4)) == "".join(format_rows(table, 4))


@given(st.lists(strategies.float32, max_size=30))
def test_full_precision_comes_back_unchanged(values: list[float]) -> None:
    array = np.array(values, np.float32)
    back = np.array([float(text) for text in FloatFormatter().format(array)], np.float32)
    np.testing.assert_array_equal(back, array)


detection = st.integers(5, 7).flatmap(
    lambda width: st.lists(
        st.lists(strategies.float32, min_size=width, max_size=width), min_size=1, max_size=4
    ).map(lambda rows: [2.0, float(width), *[v for row in rows for v in row]])
)
paths = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs")), min_size=1, max_size=12
).filter(lambda path: not unsafe_path(path) and path == path.strip())


@given(st.lists(st.tuples(st.one_of(detection, strategies.labels), paths), min_size=1, max_size=8))
def test_rows_round_trip(rows: list[tuple[list[float], str]]) -> None:
    table = samples([label for label, _ in rows], [path for _, path in rows])
    back = parse_rows("".join(format_rows(table)).split("\n"), "root")
    assert back.paths == table.paths
    np.testing.assert_array_equal(back.labels, table.labels)
    np.testing.assert_array_equal(back.bounds, table.bounds)
    np.testing.assert_array_equal(back.indices, table.indices)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0\ta.jpg", "line 2: 2 columns"),
        ("x\t1\ta.jpg", "line 2: index is 'x'"),
        ("-1\t1\ta.jpg", "line 2: index is '-1'"),
        ("1.0\t1\ta.jpg", "line 2: index is '1.0'"),
        ("1\tcat\ta.jpg", "line 2: label is 'cat'"),
        ("1\tnan\ta.jpg", "line 2: label is 'nan'"),
        ("1\t1\tnan\t2\ta.jpg", "line 2: label is 'nan'"),
        ("1\tnan\tinf\ta.jpg", "line 2: label is 'nan'"),
        ("1\t2\t-inf\ta.jpg", "line 2: label is '-inf'"),
        ("1\t2\t1_0\ta_b.jpg", "line 2: label is '1_0'"),
        ("1\t1e99\ta.jpg", "line 2: label is '1e99'"),
        ("7\t1\tb.jpg", "index 7 appears twice, again for 'b.jpg'"),
    ],
)
def test_a_broken_row_is_named(line: str, message: str) -> None:
    with pytest.raises(ListError, match=message):
        parse_rows(["7\t1\ta.jpg\n", line + "\n"], "root")


def test_an_empty_list_is_an_error() -> None:
    with pytest.raises(ListError, match="no rows"):
        parse_rows(["\n"], "root")


def test_blank_lines_crlf_and_padding_are_read_as_im2rec_does() -> None:
    table = parse_rows([" 3\t 1.5 \t a b.jpg \r\n", "\r\n", "4\t2\tc.jpg"], "root")
    assert table.indices.tolist() == [3, 4]
    assert table.paths == ["a b.jpg", "c.jpg"]
    assert table.labels.tolist() == [1.5, 2.0]


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        table = parse_rows(text.splitlines(keepends=True), "root")
    except ListError:
        return
    assert len(table) == len(table.paths) >= 1


@given(
    st.lists(
        st.lists(
            st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 2.5, 5.5, -1, float("nan"), float("inf")]),
            min_size=1,
            max_size=14,
        ),
        min_size=1,
        max_size=8,
    )
)
def test_detection_labels_are_those_with_detection_widths(labels: list[list[float]]) -> None:
    table = samples(labels)
    expected = [detection_widths(sample.label) is not None for sample in table]
    assert detection_labels(table).tolist() == expected


def test_texts_tell_apart_what_is_equal_but_not_the_same() -> None:
    values = np.array([0.0, -0.0, 0.1, 0.1, 1e-8, 0.75], np.float32)
    assert FloatFormatter().format(values) == ["0.0", "-0.0", "0.1", "0.1", "1e-08", "0.75"]
    assert FloatFormatter(2).format(values) == ["0.00", "-0.00", "0.10", "0.10", "0.00", "0.75"]


def test_checked_lines() -> None:
    lines = CheckedLines(["ä\n", "b\n"])
    assert "".join(lines) == "ä\nb\n"
    assert lines.crc32 == zlib.crc32("ä\nb\n".encode())


@pytest.mark.parametrize("most", [1, 10, 1 << 17])
def test_texts_of_many_tables_do_not_depend_on_what_was_formatted_before(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("recpack.formats.lst._MAX_KNOWN", most)
    formatter = FloatFormatter()
    for seed in range(20):
        values = np.random.RandomState(seed).randint(0, 9, 40).astype(np.float32) / 8
        assert formatter.format(values) == [str(value) for value in values.tolist()]


def test_labels_of_samples_with_and_without_objects() -> None:
    objects = np.array([[1, 0.1, 0.2, 0.3, 0.4], [2, 0, 0, 1, 1], [0, 0, 0, 0.5, 1]], np.float32)
    labels, bounds = assemble_labels(objects, np.array([2, 0, 1]))
    assert bounds.tolist() == [0, 12, 19, 26]
    np.testing.assert_array_equal(
        labels,
        np.array(
            [2, 5, *objects[0], *objects[1], 2, 5, -1, -1, -1, -1, -1, 2, 5, *objects[2]],
            np.float32,
        ),
    )


def test_take_and_slice() -> None:
    table = samples([[1], [2, 5, 0, 0, 0, 1, 1], [3]])
    for taken in (table.take(np.array([2, 1])), table.reorder(np.array([2, 1])).slice(0, 2)):
        check_taken(taken)
    assert [s.path for s in table.reorder(np.array([1, 0, 2]))] == [
        "i/1.jpg",
        "i/0.jpg",
        "i/2.jpg",
    ]
    part = table.reorder(np.array([2, 0, 1])).take(np.array([0, 2]))
    assert (list(part.paths), part.indices.tolist()) == (["i/2.jpg", "i/1.jpg"], [0, 1])
    part = table.slice(1, 3)
    assert [s.label.tolist() for s in part] == [[2, 5, 0, 0, 0, 1, 1], [3]]
    assert part.indices.tolist() == [1, 2]


def check_taken(taken: Samples) -> None:
    assert taken.indices.tolist() == [0, 1]
    assert taken.paths == ["i/2.jpg", "i/1.jpg"]
    assert taken.labels.tolist() == [3, 2, 5, 0, 0, 0, 1, 1]
    assert taken.bounds.tolist() == [0, 1, 8]
    assert taken.label_widths().tolist() == [1, 7]
