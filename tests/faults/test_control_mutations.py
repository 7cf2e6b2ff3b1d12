"""Rules of signatures and the control plane, each taken out once.

As in `test_mutations`: a replacement in a copy of the package turns the tests named with it red.

    pytest tests/faults/test_control_mutations.py
"""

from pathlib import Path

import pytest
from kit.mutations import Mutation, copy_of_project, passes, turns_red

pytestmark = pytest.mark.slow

REGISTER = "tests/control/admission/test_register.py"
RECOVERY = "tests/control/admission/test_recovery.py"
DOSSIER = "tests/control/admission/test_dossier.py"
MODERATION = "tests/control/test_moderation.py"
COPIES = "tests/control/admission/test_copies.py"
VERDICTS = "tests/control/admission/test_verdicts.py"
LEADER = "tests/control/policy/test_leader.py"
SUCCESSION = "tests/control/policy/test_succession.py"
KEEPER = "tests/control/policy/test_keeper.py"
LEADING = "tests/core/test_leading.py"
LOG = "tests/control/test_log.py"
APP = "tests/control/test_app.py"
CODEC = "tests/runtime/test_codec.py"
SIGNING = "tests/runtime/test_signing.py"
ROTATION = "tests/runtime/test_rotation.py"
KEYS = "tests/core/test_keys.py"
MIGRATE = "tests/ops/test_migrate.py"
MOVE = "tests/ops/test_move.py"
KEY_TESTS = (SIGNING, ROTATION, KEYS)
LEADER_TESTS = (LEADER, SUCCESSION, KEEPER, LEADING)
DOSSIERS = "tests/contract/test_dossiers.py"
REVIEWERS = "tests/control/admission/test_reviewers.py"
WORDS = "tests/control/policy/test_words.py"
DISTRIBUTION = "tests/core/test_distribution.py"
GRANTING = "tests/control/admission/test_granting.py"

PURE = [
    Mutation(
        "a control record without the right signature is refused",
        "runtime/signing.py",
        "_loaded(public).verify(bytes.fromhex(signature.decode()), message)",
        "del message",
        CODEC,
        "",
    ),
    Mutation(
        "a control record has one signature, not several to choose from",
        "runtime/signing.py",
        "if len(signatures) != 1:",
        "if not signatures:",
        CODEC,
        "",
    ),
    Mutation(
        "a signature covers the key",
        "runtime/signing.py",
        'return b"%b\\n%b%b" % (head, key or b"", value)',
        'return b"%b%b" % (head, value)',
        CODEC,
        "",
    ),
    Mutation(
        "a signature covers the installation",
        "runtime/signing.py",
        "(_CONTEXT, installation.encode(), length)",
        "(_CONTEXT, length)",
        SIGNING,
        "another_installation",
    ),
    Mutation(
        "only keys in force sign",
        "core/keys.py",
        "return msgspec.structs.replace(self, keys=record.keys, seq=record.seq)",
        "return msgspec.structs.replace(self, keys=self.keys + record.keys, seq=record.seq)",
        SIGNING,
        "retired",
    ),
    Mutation(
        "keys change at their record, in the middle of a batch",
        "runtime/codec.py",
        "        trust = trust.after(event)\n",
        "        trust.after(event)\n",
        ROTATION,
        "batches",
    ),
    Mutation(
        "keys in force are kept with the counters",
        "core/state.py",
        "keys=self._keys_raw",
        'keys=b""',
        ROTATION,
        "dies_anywhere",
    ),
    Mutation(
        "an older change of keys changes none",
        "core/keys.py",
        "record.seq > self.seq",
        "record.seq > 0",
        SIGNING,
        "signed_once",
    ),
    Mutation(
        "no HMAC counts behind the upgrade",
        "runtime/signing.py",
        "if trust.upgraded:",
        "if False:",
        SIGNING,
        "upgrade or fresh",
    ),
    Mutation(
        "an upgrade stands in the meta",
        "core/keys.py",
        "return msgspec.structs.replace(self, upgraded=True)",
        "return self",
        KEYS,
        "upgrade",
    ),
    Mutation(
        "an HMAC changes no keys",
        "runtime/codec.py",
        'if scheme == "hmac" and isinstance(event, _ED25519_ONLY):',
        "if False:",
        SIGNING,
        "changes_no_keys",
    ),
    Mutation(
        "what is stored turns at the upgrade, in memory or not",
        "runtime/folding.py",
        "stored = await source.scan()",
        "stored: Rows = {}",
        MIGRATE,
        "same_bytes",
    ),
    Mutation(
        "a log of 0.1.0 is folded by its rule",
        "core/fold.py",
        "    if not state.trust.upgraded:\n",
        "    if False:\n",
        MIGRATE,
        "recording",
    ),
    Mutation(
        "counters that changed meanwhile are not taken over",
        "runtime/memory/store.py",
        "if found is None or not {_label(found)} & {_label(before), _label(after)}:",
        "if found is None:",
        MIGRATE,
        "meanwhile",
    ),
    Mutation(
        "only counters of this log are taken over",
        "ops/migrate.py",
        "if stored != expected:",
        "if False:",
        MIGRATE,
        "strangers",
    ),
    Mutation(
        "counters move on a signed word alone",
        "ops/move.py",
        "                await self._require_word(partition, before.stored, old)\n",
        "",
        MOVE,
        "retired or another_move",
    ),
    Mutation(
        "counters move to the same log alone",
        "ops/move.py",
        "if record.offset == stored.watermark and mark_of(record) == stored.meta.mark:",
        "if True:",
        MOVE,
        "at_the_watermark",
    ),
    Mutation(
        "generations never become shorter",
        "core/fold.py",
        "if record.records < length:",
        "if False:",
        "tests/core/test_generations.py",
        "never_become_shorter",
    ),
    Mutation(
        "a change of keys from the future changes none",
        "runtime/codec.py",
        "    if event.ts > record.timestamp + FUTURE_MS:\n        raise DeadLetter(*_FUTURE)\n",
        "",
        SIGNING,
        "is_refused_changes_none",
    ),
    Mutation(
        "retired keys are not back with a log that lost its beginning",
        "runtime/opening.py",
        "whole = not self._installation.begins(partition, bounds.start)",
        "whole = True",
        ROTATION,
        "without_its_beginning",
    ),
    Mutation(
        "the recount goes by the keys at their place",
        "ops/counting.py",
        "        self._trust = decoded.trust\n",
        "",
        ROTATION,
        "recount",
    ),
    Mutation(
        "a key that does not count refuses the start",
        "runtime/installation.py",
        "if key.public not in installation.keys:",
        "if False:",
        "tests/ops/test_installation.py",
        "signs_nothing",
    ),
    Mutation(
        "an unsigned control record is no interaction",
        "runtime/reasons.py",
        "if tag in CONTROL_TYPES:",
        "if False:",
        CODEC,
        "",
    ),
    Mutation(
        "an event in another partition than its video's is misrouted",
        "control/admission/register.py",
        "if record.partition != home:",
        "if False:",
        REGISTER,
        "misrouted",
    ),
    Mutation(
        "an event ahead of its record is refused",
        "control/admission/register.py",
        "if event.ts > record.timestamp + FUTURE_MS:",
        "if False:",
        APP,
        "future and embedded",
    ),
    Mutation(
        "what is to be said is stored before it is said",
        "control/admission/register.py",
        "            await self._put(partition, _changes(begun, revisions, 1), still)\n",
        "            pass\n",
        APP,
        "never_succeeded or costs_nothing and embedded",
    ),
    Mutation(
        "a loss is noticed before a missing dossier is believed",
        "control/admission/register.py",
        "if stored < known:",
        "if False:",
        RECOVERY,
        "noticed",
    ),
    Mutation(
        "a dossier that cannot be read is not passed",
        "control/admission/register.py",
        "            await self._store(batch, {})\n            raise batch.failure",
        "            pass",
        REGISTER,
        "cannot_be_read",
    ),
    Mutation(
        "a missing dossier asks the row",
        "control/admission/register.py",
        "if not whole or known is None or known.log != self._log.name",
        "if False",
        REGISTER,
        "continues_from_the_row",
    ),
    Mutation(
        "rows are relied on only as far as they are counted",
        "control/log.py",
        "if watermark < needed:",
        "if False:",
        LOG,
        "",
    ),
    Mutation(
        "a video's records follow one another's acknowledgement",
        "control/log.py",
        "            await asyncio.gather(*acks)\n",
        "            del acks\n",
        LOG,
        "follow",
    ),
    Mutation(
        "nothing is said before all facts are learned",
        "control/admission/register.py",
        "after = dossier.learn(logged, event, self._tools())",
        "after = dossier.advance(\n"
        "                    logged, event, 1_700_000_000_000, self._tools(), "
        "batch.logged[event.video]\n"
        "                )",
        RECOVERY,
        "without_copies",
    ),
    Mutation(
        "letters of what was handled are not written again",
        "control/admission/register.py",
        "if one[0].offset >= lettered.get((one[0].topic, one[0].partition), 0)",
        "if True",
        RECOVERY,
        "letters",
    ),
    Mutation(
        "the group's commit tells an older Redis from a whole one",
        "control/admission/recovery.py",
        "return held < self._handled[place]",
        "return False",
        RECOVERY,
        "next_process",
    ),
    Mutation(
        "what was read again is known to be held",
        "control/admission/recovery.py",
        "        await self._register.hold(partition, ends)\n",
        "        for name, end in ends.items():\n"
        "            await self._ports.dossiers.hold(partition, self._log.name, {name: end})\n",
        RECOVERY,
        "right_behind",
    ),
    Mutation(
        "only a live room ends",
        "control/admission/dossier.py",
        'if isinstance(event, Ended) and dossier.upload and dossier.upload.format != "live":',
        "if False:",
        DOSSIER,
        "only_a_room",
    ),
    Mutation(
        "a room that ended is announced off",
        "control/admission/dossier.py",
        "    if dossier.is_over:\n",
        "    if False:\n",
        DOSSIER,
        "end_of_a_room or any_order",
    ),
    Mutation(
        "a lost dossier learns from the log that the room ended",
        "control/admission/dossier.py",
        "return self.announced.over or (",
        "return (",
        DOSSIER,
        "from_the_log_that",
    ),
    Mutation(
        "a dossier behind its row is told what the row shows",
        "control/admission/dossier.py",
        "if known.log == logged.log and known.seq > row.seq:",
        "if True:",
        DOSSIER,
        "gone or older or another_log",
    ),
    Mutation(
        "numbers rise from the last one",
        "control/admission/dossier.py",
        "enumerate(records, dossier.seq + 1)",
        "enumerate(records, dossier.seq)",
        DOSSIER,
        "numbers",
    ),
    Mutation(
        "an old leader is refused where the new one wrote no policy",
        "core/fold.py",
        "if record.term < state.trust.term:",
        "if False:",
        LEADING,
        "old_leader",
    ),
    Mutation(
        "the same number with other content is stale",
        "core/fold.py",
        "        if record != in_force:\n",
        "        if False:\n",
        LEADING,
        "other_content",
    ),
    Mutation(
        "the first of two leads of one term counts",
        "core/keys.py",
        "record.term > self.term",
        "record.term >= self.term",
        LEADING,
        "same_term",
    ),
    Mutation(
        "a leader fences every partition with its term",
        "control/policy/broadcast.py",
        "dict.fromkeys(range(1, self._log.partitions), (lead,))",
        "{}",
        LEADER,
        "before_any_policy",
    ),
    Mutation(
        "the first record of a term wins",
        "control/policy/terms.py",
        "if trust.lead == lead.id:",
        "if trust.term == term:",
        LEADER,
        "first_in_the_log",
    ),
    Mutation(
        "a term that nobody counted is known from the log",
        "control/policy/terms.py",
        "        trust = await behind.read()\n        for",
        "        trust = first.trust\n        for",
        LEADER,
        "nobody_counted_yet",
    ),
    Mutation(
        "a policy is announced before the log has it",
        "control/policy/broadcast.py",
        "        await self._log.announce(record)\n",
        "",
        LEADER,
        "dead_leader_learned",
    ),
    Mutation(
        "what not every partition had is brought to its end",
        "control/policy/leader.py",
        "if any(state.policy != base for state in states.values()):",
        "if False:",
        LEADER,
        "dead_leader_learned",
    ),
    Mutation(
        "a half-done change of keys is ended",
        "control/policy/leader.py",
        "if begun.pending is not None:",
        "if False:",
        LEADER,
        "half_done",
    ),
    Mutation(
        "a policy that an old leader tells of late is outdone",
        "control/policy/leader.py",
        " or self._is_outdone(self._base)",
        "",
        LEADER,
        "for_long",
    ),
    Mutation(
        "a leader of an ended term rests",
        "control/policy/broadcast.py",
        "if any(state.term > self._term for state in states.values()):",
        "if False:",
        LEADER,
        "slept",
    ),
    Mutation(
        "what was overtaken is written again",
        "control/policy/leader.py",
        'if standing == "overtaken":',
        "if False:",
        LEADER,
        "unseen",
    ),
    Mutation(
        "a policy is in force only where no other one can follow unseen",
        "control/policy/broadcast.py",
        "if state.trust.term < self._term:",
        "if False:",
        LEADER,
        "unseen",
    ),
    Mutation(
        "a policy's time is no host's clock",
        "control/policy/broadcast.py",
        "ts = min(latest, now_ms())",
        "ts = now_ms()",
        LEADER,
        "host",
    ),
    Mutation(
        "a start with unchanged files writes nothing",
        "control/policy/leader.py",
        "if base is None or unplaced(wanted) != unplaced(base):",
        "if True:",
        LEADER,
        "unchanged",
    ),
    Mutation(
        "orders are signed by a key in force",
        "runtime/policies.py",
        "        require_signature(record, trust, None)\n",
        "",
        LEADER,
        "nobody_in_force_signed",
    ),
    Mutation(
        "whose key counts no more does not lead",
        "control/policy/leader.py",
        "if self._log.public not in self._table.installation.keys:",
        "if False:",
        LEADER,
        "counts_no_more",
    ),
    Mutation(
        "changed files leave what was learned",
        "control/policy/succession.py",
        "    return replace(with_learned(files, base, moved, files.frozen), moved=moved)\n",
        "    return files\n",
        SUCCESSION,
        "learned",
    ),
    Mutation(
        "other weights reset what was learned",
        "control/policy/succession.py",
        "if base.weights != files.weights and base.moved:",
        "if False:",
        SUCCESSION,
        "other_weights",
    ),
    Mutation(
        "what is frozen stays",
        "control/policy/keeper.py",
        "moved = with_learned(policy, wanted, frozen=policy.frozen)",
        "moved = with_learned(policy, wanted)",
        KEEPER,
        "frozen",
    ),
    Mutation(
        "a pinned half is not moved",
        "control/policy/keeper.py",
        "if policy.pinned:",
        "if False:",
        KEEPER,
        "why_once",
    ),
    Mutation(
        "topics of another partition count refuse the start",
        "control/app.py",
        "if existing[topic] != wanted and topic not in tables:",
        "if False:",
        APP,
        "another_partition_count",
    ),
    Mutation(
        "counters of another installation refuse the start",
        "control/app.py",
        "        await broadcast.states()\n",
        "",
        APP,
        "another_installation and embedded",
    ),
    Mutation(
        "reading starts where the dossiers are, not at the commit",
        "control/agents.py",
        "        await self._thread.seek_wait(held)\n",
        "",
        APP,
        "reads_again_what and embedded",
    ),
    Mutation(
        "a document is replaced only by one made from its revision (twin)",
        "runtime/memory/dossiers.py",
        "return revision == change.before or stored == change.document",
        "return True",
        DOSSIERS,
        "memory",
    ),
    Mutation(
        "of two control planes one reads again what the other wrote",
        "runtime/memory/dossiers.py",
        "return revision == change.before or stored == change.document",
        "return True",
        VERDICTS,
        "kills",
    ),
    Mutation(
        "every change has a copy, before anything is said of it",
        "control/admission/register.py",
        "            await self._copies.write(partition, _documents(copies, revisions))\n",
        "",
        COPIES,
        "",
    ),
    Mutation(
        "what was stored and not copied is copied by the next one",
        "control/admission/dossier.py",
        "if after is dossier and not (after.uncopied or after.owes):",
        "if after is dossier and not after.owes:",
        COPIES,
        "not_written",
    ),
    Mutation(
        "a verdict takes off the list what no dossier remembers",
        "control/admission/dossier.py",
        " or (self.verdict is not None and bool(self.unsent))",
        "",
        MODERATION,
        "no_dossier_remembers",
    ),
    Mutation(
        "a video that waits already is listed once",
        "control/admission/register.py",
        "for video, now in begun.items() if now.relists}",
        "for video, now in begun.items()}",
        MODERATION,
        "listed_once",
    ),
    Mutation(
        "a verdict on a video that is shown settles what was reported",
        "control/admission/dossier.py",
        "    if looked > announced.looked:\n",
        "    if False:\n",
        MODERATION,
        "settled_by_an_approval",
    ),
    Mutation(
        "positions move behind the copy",
        "control/admission/register.py",
        "await self._put(partition, _changes(begun, revisions, 1), still)",
        "await self._put(partition, _changes(begun, revisions, 1), moves)",
        COPIES,
        "not_written",
    ),
    Mutation(
        "the greatest copy counts",
        "control/admission/copies.py",
        "if copy.revision > known.revision",
        "if True",
        COPIES,
        "greatest",
    ),
    Mutation(
        "a lesser copy is followed by the greater one again",
        "control/admission/copies.py",
        "if before.get(video) == offset]",
        "if False]",
        COPIES,
        "followed",
    ),
    Mutation(
        "a greater copy may only be on its way",
        "control/admission/copies.py",
        "if before.get(video) == offset]",
        "if True]",
        COPIES,
        "late",
    ),
    Mutation(
        "what is not sure yet is looked at again",
        "control/admission/copies.py",
        "held = min(look.late.values(), default=look.end)",
        "held = look.end",
        COPIES,
        "next_control_plane",
    ),
    Mutation(
        "what was written in two ways has the facts of both",
        "control/admission/copies.py",
        "if joined is one:",
        "if True:",
        COPIES,
        "facts_of_both",
    ),
    Mutation(
        "a topic that lacks copies gets them",
        "control/admission/copies.py",
        "            await self._write_missing(ended)\n",
        "",
        COPIES,
        "made_again or before_there_was",
    ),
    Mutation(
        "an emptied Redis is noticed by what the topic of copies holds",
        "control/admission/recovery.py",
        "                if bounds.start < bounds.end:\n                    self._note(",
        "                if False:\n                    self._note(",
        COPIES,
        "empty_by_now",
    ),
    Mutation(
        "what the log has is not said again of what was put back",
        "control/admission/dossier.py",
        "return replace(known, unsent=()) if known.unsent else known",
        "return known",
        COPIES,
        "put_back_as_it_was",
    ),
    Mutation(
        "a dossier has room for its copy",
        "control/admission/register.py",
        "if not isinstance(event, Review) and len(",
        "if False and len(",
        COPIES,
        "too_large",
    ),
    Mutation(
        "partitions just taken over are compared before anything is handled",
        "control/app.py",
        "        await self._compare()\n        await self._register.handle(",
        "        await self._register.handle(",
        APP,
        "taken_over and embedded",
    ),
    Mutation(
        "where people sign nobody else counts",
        "control/admission/reviewers.py",
        "require_signature(record, Trust(installation, keys, upgraded=True), None)",
        "pass",
        REVIEWERS,
        "",
    ),
    Mutation(
        "only people who are named sign",
        "control/admission/reviewers.py",
        "if keys is None:\n            raise",
        "if keys is None:\n            return\n            raise",
        REVIEWERS,
        "",
    ),
    Mutation(
        "who left says nothing any more",
        "control/admission/reviewers.py",
        "if left is not None and record",
        "if False and record",
        REVIEWERS,
        "",
    ),
    Mutation(
        "words on slices are signed too",
        "control/admission/register.py",
        "            tools.gate.reviewers.require(event, record, self._log.installation.id)\n",
        "            pass\n",
        WORDS,
        "",
    ),
    Mutation(
        "an opening ends only an earlier freezing",
        "control/policy/words.py",
        "return word if word.frozen or word.ts > before.ts else before",
        "return word",
        WORDS,
        "",
    ),
    Mutation(
        "a freezing always counts",
        "control/policy/words.py",
        "word.frozen or word.ts > before.ts",
        "word.ts > before.ts",
        WORDS,
        "",
    ),
    Mutation(
        "words are read again with the topics",
        "control/admission/recovery.py",
        "await self._register.vouch_again()",
        "pass",
        WORDS,
        "",
    ),
    Mutation(
        "a frozen slice is let go",
        "core/distribution.py",
        "if spec is None or spec.is_shut:",
        "if spec is None:",
        DISTRIBUTION,
        "",
    ),
    Mutation(
        "nothing opens in a frozen slice",
        "core/outlook.py",
        "if spec is None or spec.is_shut:",
        "if spec is None:",
        DISTRIBUTION,
        "",
    ),
    Mutation(
        "a creator has so many full guarantees a day",
        "control/admission/granting.py",
        "if video in days else Grant(bound.beyond)",
        "if days.setdefault(video, 1) else Grant(bound.beyond)",
        GRANTING,
        "three_full",
    ),
    Mutation(
        "what an admission was promised is decided once",
        "control/admission/granting.py",
        "if each.grant is None and ",
        "if ",
        GRANTING,
        "said_again",
    ),
    Mutation(
        "a repeated claim is the same video's",
        "runtime/memory/dossiers.py",
        "        if claim.video in held:\n            return True\n",
        "",
        DOSSIERS,
        "memory and claims_again",
    ),
    Mutation(
        "what was claimed and lost comes back with the copies",
        "control/admission/copies.py",
        "_log.partitions, _readable(changed))",
        "_log.partitions, {})",
        GRANTING,
        "comes_back",
    ),
    Mutation(
        "what one shard lost of the full guarantees comes back from all dossiers",
        "control/admission/recovery.py",
        "        await self._copies.claim_again(self._behind)\n",
        "",
        GRANTING,
        "one_shard_lost",
    ),
    Mutation(
        "what followers alone may see takes no guarantee",
        "control/admission/granting.py",
        "        return not record.limited\n",
        "        return True\n",
        GRANTING,
        "followers_alone",
    ),
]
LUA = [
    Mutation(
        "the script counts a day's claims",
        "runtime/redis/claims.lua",
        "if taken >= tonumber(ARGV[3]) or",
        "if",
        DOSSIERS,
        "redis and not 6.2",
    ),
    Mutation(
        "the script knows the videos that have claimed",
        "runtime/redis/claims.lua",
        "if held[i] == video then",
        "if false then",
        DOSSIERS,
        "redis and not 6.2",
    ),
    Mutation(
        "the script counts each day by itself",
        "runtime/redis/claims.lua",
        "if other == day then",
        "if true then",
        DOSSIERS,
        "redis and not 6.2",
    ),
    Mutation(
        "the script compares the document",
        "runtime/redis/dossiers.lua",
        "if revision ~= ARGV[at] and stored ~= ARGV[at + 1] then",
        "if false then",
        DOSSIERS,
        "redis and not 6.2",
    ),
    Mutation(
        "the script notices positions that went back",
        "runtime/redis/dossiers.lua",
        "if stored < tonumber(ARGV[at + 1]) then",
        "if false then",
        DOSSIERS,
        "redis and not 6.2",
    ),
    Mutation(
        "a late owner moves no position back",
        "runtime/redis/dossiers.lua",
        "if stored < tonumber(ARGV[at + 2]) or stored == 0 then",
        "if true then",
        DOSSIERS,
        "redis and not 6.2",
    ),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the project in which anything may be changed."""
    return copy_of_project(tmp_path_factory.mktemp("mutated"))


@pytest.mark.parametrize(
    "tests",
    [
        *(
            REGISTER,
            RECOVERY,
            DOSSIER,
            COPIES,
            GRANTING,
            *LEADER_TESTS,
            LOG,
            CODEC,
            REVIEWERS,
            WORDS,
            *KEY_TESTS,
        ),
        *(MIGRATE, MOVE),
    ],
)
def test_without_a_mutation_the_copy_is_green(copied: Path, tests: str) -> None:
    assert passes(copied, tests, "", {})


@pytest.mark.parametrize("mutation", PURE, ids=lambda mutation: mutation.rule)
def test_a_rule_taken_out_turns_the_suite_red(copied: Path, mutation: Mutation) -> None:
    assert turns_red(copied, mutation)


@pytest.mark.real
def test_without_a_mutation_the_scripts_are_green(copied: Path, redis_url: str) -> None:
    select = "redis and not 6.2"
    assert passes(copied, DOSSIERS, select, {"STREAMS_TEST_REDIS": redis_url})


@pytest.mark.real
@pytest.mark.parametrize("mutation", LUA, ids=lambda mutation: mutation.rule)
def test_a_rule_taken_out_of_a_script_turns_the_suite_red(
    copied: Path, mutation: Mutation, redis_url: str
) -> None:
    assert turns_red(copied, mutation, STREAMS_TEST_REDIS=redis_url)
