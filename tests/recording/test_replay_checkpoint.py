"""A checkpoint is whole, and belongs to one replay."""

from pathlib import Path

import pytest

from streams.errors import Halt
from streams.recording.checkpoint import Checkpoint, Reached, load_checkpoint, save_checkpoint

AT = Checkpoint(
    *("plan", "run", {"t": {0: 5, 11: 7}}, 12, None),
    began_ms=9,
    targets={"again": Reached("id", {0: 4})},
)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "at", AT)
    assert load_checkpoint(tmp_path / "at") == AT
    assert AT.places() == {("t", 0): 5, ("t", 11): 7}
    assert AT.ends() == {("again", 0): 4}
    assert [path.name for path in tmp_path.iterdir()] == ["at"]


def test_another_replays_checkpoint_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "at", AT)
    load_checkpoint(tmp_path / "at").require_plan("plan", tmp_path / "at")
    with pytest.raises(Halt, match="belongs to another replay"):
        load_checkpoint(tmp_path / "at").require_plan("other plan", tmp_path / "at")


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b'{"plan":1}'])
def test_any_other_file_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "at").write_bytes(text)
    with pytest.raises(Halt, match="is no checkpoint"):
        load_checkpoint(tmp_path / "at")


def test_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(Halt, match="cannot read the checkpoint"):
        load_checkpoint(tmp_path / "at")
    with pytest.raises(Halt, match="cannot write the checkpoint"):
        save_checkpoint(tmp_path / "no" / "at", AT)
