import pytest

from streams.lab.glosses import GLOSSES, gloss
from streams.lab.uploads import DARING, DOUBTFUL, FORBIDDEN, SUBJECTS

TITLES = [title for subject in SUBJECTS.values() for title in subject.titles]


@pytest.mark.parametrize("title", [*TITLES, DOUBTFUL, FORBIDDEN, DARING + TITLES[0]])
def test_every_title_can_be_read_in_english(title: str) -> None:
    assert title.isascii() or gloss(title).isascii()
    assert title.isascii() != bool(gloss(title))


def test_no_gloss_is_for_a_title_that_nobody_uploads() -> None:
    assert set(GLOSSES) <= {*TITLES, DOUBTFUL, FORBIDDEN, DARING}
