"""What must be as it was where the log was recorded, before its fold means anything."""

from pathlib import Path

import msgspec
import pytest
from kit.events import FIXED, record, signed_record
from kit.keys import SECRET
from kit.recordings import TOPIC, busy_log, cluster_of, log_with
from kit.recordings import record as record_whole

from streams.core.events import Policy
from streams.errors import Halt
from streams.recording.fold_checks import (
    recorded_policies,
    require_installation,
    require_recorded_policy,
)
from streams.recording.folding import Folder, Rules
from streams.recording.manifest import Manifest
from streams.recording.reader import Recording
from streams.runtime.namespace import fingerprint

RULES = Rules(200, 1 << 20, secret=SECRET)


@pytest.fixture
async def recording(tmp_path: Path) -> Recording:
    return await record_whole(cluster_of(busy_log(300)), tmp_path / "r")


def known(manifest: Manifest, secret: str | None, generation: int | None) -> Manifest:
    manifest.secret, manifest.generation_records = secret, generation
    return manifest


async def test_another_secret_is_refused_with_the_reason(recording: Recording) -> None:
    with pytest.raises(
        Halt, match=r"signed with another secret .*nothing that it signed would count"
    ):
        require_installation(known(recording.manifest, "abc", None), RULES)
    require_installation(known(recording.manifest, fingerprint(SECRET), 200), RULES)
    require_installation(known(recording.manifest, None, None), RULES)


async def test_another_length_of_generations_is_refused(recording: Recording) -> None:
    with pytest.raises(Halt, match="in generations of 100,000 records, the settings say 200"):
        require_installation(known(recording.manifest, None, 100_000), RULES)


def version(number: int) -> Policy:
    return msgspec.structs.replace(FIXED, version=f"v-{number}", seq=number, id=f"p-{number}")


async def test_the_policies_of_a_log_are_known_by_version(tmp_path: Path) -> None:
    records = [
        record(b"no event", 0),
        signed_record(version(1), 1),
        record(b'{"type":"policy"}', 2),
        signed_record(version(2), 3),
    ]
    recording = await record_whole(cluster_of(log_with(records)), tmp_path / "r")
    assert recorded_policies(recording, TOPIC) == ["v-1", "v-2"]
    require_recorded_policy(recording, TOPIC, "v-1")
    with pytest.raises(Halt, match="the policy is a record of the log, last v-2; v-3 of --config"):
        require_recorded_policy(recording, TOPIC, "v-3")


async def test_a_log_without_a_policy_refuses_none(tmp_path: Path) -> None:
    recording = await record_whole(cluster_of(log_with([record(b"{}", 0)])), tmp_path / "r")
    require_recorded_policy(recording, TOPIC, "v-3")


async def test_a_fold_says_which_policy_decided_and_what_was_not_signed(
    recording: Recording,
) -> None:
    folded = await Folder(recording, TOPIC, RULES, lambda _: None).partition(1)
    assert folded.policy is not None
    recording.manifest.installation = None
    refused = await Folder(recording, TOPIC, RULES, lambda _: None).partition(1)
    assert (refused.policy, refused.receipts) == (None, 0)
    assert refused.unsigned > folded.unsigned
