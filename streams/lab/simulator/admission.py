"""Uploads through the real admission: recogniser, review gate, catalogue, control records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from msgspec.structs import replace

from streams.control.admission import dossier
from streams.control.admission.dossier import Logged, Tools
from streams.control.admission.plugins import RecogniserFault
from streams.control.admission.recognise import Recogniser
from streams.control.admission.review import ReviewGate
from streams.control.admission.taxonomy import Taxonomy
from streams.control.policy.catalogue import Catalogue
from streams.control.policy.file import PolicyRules
from streams.core.events import (
    Policy,
    Upload,
    VideoControl,
)
from streams.core.units import surface_of
from streams.core.words import Review
from streams.lab.uploads import SUBJECTS, draw_upload

START_MS: Final = 1_700_000_000_000
"""When every simulation begins."""
LOG: Final = Logged("simulation")
COMMERCIAL_SHARE: Final = 0.1
BANDS: Final = (20, 30, 22, 14, 9, 4, 1)
"""How many of a hundred videos have a creator with so many digits of followers, from one on."""


@dataclass(frozen=True, slots=True)
class Platform:
    """The shipped rules: what an admission asks, and the policy in force."""

    tools: Tools
    policy: Policy


def load_platform(folder: Path) -> Platform:
    """Read the rules from `config/`; `Halt` with one line if one of them is wrong."""
    taxonomy = Taxonomy.from_toml(folder / "taxonomy.toml")
    catalogue = Catalogue.from_toml(folder / "slices.toml", taxonomy)
    policy = PolicyRules.from_toml(folder / "policy.toml", catalogue)
    tools = Tools(
        recognisers={"builtin": Recogniser(taxonomy)},
        gate=ReviewGate.from_toml(folder / "review.toml", taxonomy),
        catalogue=catalogue,
        guarantee=policy.guarantee,
        report=_ignore,
    )
    return Platform(tools, policy.record(1, START_MS))


def draw_uploads(chance: Random, platform: Platform, count: int) -> list[Upload]:
    """Return uploads of every subject and city; a tenth are commercial."""
    slices = sorted(platform.policy.slices)
    subjects = [name for name in SUBJECTS if f"discover:{name}" in platform.policy.slices]
    cities = [name.partition(":")[2] for name in slices if surface_of(name) == "nearby"]
    uploads = []
    for number in range(count):
        subject, city = chance.choice(subjects), chance.choice(cities)
        upload = draw_upload(chance, number, subject, city, START_MS)
        commercial = chance.random() < COMMERCIAL_SHARE
        uploads.append(replace(upload, commercial=commercial, followers=_followers(chance)))
    return uploads


def admit(platform: Platform, upload: Upload, now_ms: int) -> Sequence[VideoControl]:
    """Return the control records that let the public see a video; people approve what waits."""
    known = dossier.advance(None, upload, now_ms, platform.tools, LOG)
    if known.state != "public":
        word = Review(f"{upload.id}-review", upload.video, now_ms, "approve", "moderator")
        known = dossier.advance(known, word, now_ms, platform.tools, LOG)
    return known.unsent


def _followers(chance: Random) -> int:
    """Return a creator's followers: every band occurs, most creators have few."""
    band = chance.choices(range(len(BANDS)), BANDS)[0]
    return int(10 ** (band + chance.random()))


def _ignore(_fault: RecogniserFault) -> None:
    """Drop the fault: the built-in recogniser has none on uploads of our own."""
