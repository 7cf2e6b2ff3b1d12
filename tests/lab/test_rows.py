import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from streams.errors import Halt
from streams.lab.rows import BadRow, Row, convert_rows, open_log, read_rows


def rows_of(
    text: str, columns: Sequence[str] = ("a", "b"), skip: Callable[[BadRow], None] | None = None
) -> list[Row]:
    return list(read_rows(text.splitlines(keepends=True), columns, skip))


def test_rows_are_numbered_below_the_header_and_read_by_name() -> None:
    rows = rows_of("x,b,a\n0,1,2\n0,3,4\n")
    assert [(row.number, row.text("a"), row.text("b")) for row in rows] == [
        (1, "2", "1"),
        (2, "4", "3"),
    ]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(Halt, match="no column b"):
        rows_of("a,c\n1,2\n")


def test_an_empty_file_lacks_every_column() -> None:
    with pytest.raises(Halt, match="no column a, b"):
        rows_of("")


def test_a_row_of_another_length_is_refused_with_its_number_and_line() -> None:
    with pytest.raises(BadRow, match=r"^row 2 \(line 3\): 3 fields, the header has 2$"):
        rows_of("a,b\n1,2\n1,2,3\n")


def test_a_row_that_is_not_csv_can_be_passed_over() -> None:
    skipped = []
    rows = rows_of(f"a,b\n1,2\n{'x' * 200_000},2\n3,4\n", skip=skipped.append)
    assert [row.text("a") for row in rows] == ["1", "3"]
    assert [bad.row for bad in skipped] == [2]


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("7.0", 7), ("-3", -3), ("007", 7)])
def test_integers_may_have_a_fraction_of_zero(text: str, value: int) -> None:
    assert Row(1, {"a": 0}, [text]).integer("a", -10, 10) == value


@pytest.mark.parametrize("text", ["", "x", "1e3", "1.5", " 1", "1_0", "٣", "--1", "9" * 30, "11"])
def test_what_is_no_integer_in_range_is_refused(text: str) -> None:
    with pytest.raises(BadRow, match="row 1"):
        Row(1, {"a": 0}, [text]).integer("a", 0, 10)


def test_a_digest_depends_on_number_and_content_alone() -> None:
    first = Row(1, {"a": 0, "b": 1}, ["x", "y"])
    elsewhere = Row(1, {"b": 0, "a": 1}, ["y", "x"])
    assert first.digest(("a", "b")) == elsewhere.digest(("a", "b"))
    assert first.digest(("a", "b")) != Row(2, {"a": 0, "b": 1}, ["x", "y"]).digest(("a", "b"))
    assert first.digest(("a", "b")) != Row(1, {"a": 0, "b": 1}, ["xy", ""]).digest(("a", "b"))


def test_a_bad_row_yields_none_of_its_events() -> None:
    skipped = []

    def convert(row: Row) -> list[int]:
        return [row.integer("a", 0, 9), row.integer("b", 0, 9)]

    events = convert_rows(rows_of("a,b\n1,2\n3,x\n5,6\n"), convert, skipped.append)
    assert list(events) == [1, 2, 5, 6]
    assert [bad.row for bad in skipped] == [2]


def test_a_gzipped_log_is_opened_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,\xff\n"))
    with open_log(path) as file:
        assert [row.number for row in read_rows(file, ("a",))] == [1]


def test_a_gzipped_log_that_is_cut_off_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 1000)[:-20])
    with pytest.raises(Halt, match="cut off"), open_log(path) as file:
        list(read_rows(file, ("a",)))


def test_a_log_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Halt, match="No such file"), open_log(tmp_path / "none.csv"):
        pass
