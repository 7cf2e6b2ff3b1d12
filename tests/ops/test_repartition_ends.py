"""What would go over is told before, and what is under way is refused."""

from pathlib import Path

from kit.events import (
    interaction_record,
    view,
)
from kit.repartitions import small_move

from streams.core.generations import read_generations
from streams.ops.repartition_ends import (
    PartitionEnd,
    plan_repartition,
    seconds_of,
)


async def test_the_plan_says_what_would_go_over_and_changes_nothing(tmp_path: Path) -> None:
    move = await small_move(tmp_path)
    move.before.put([interaction_record(view("more"), 70)])
    before = {
        p: (each.namespace, each.watermark) for p, each in move.before.store.partitions.items()
    }
    plan = await plan_repartition(move.holding())
    videos = len(move.before.store.partitions[0].rows)
    watermark = move.before.watermark(0)
    oldest = read_generations(move.before.meta().generations, 20).back(watermark + 1, 3)
    assert plan[0] == PartitionEnd(0, watermark, 70 - watermark, videos, watermark + 1 - oldest)
    assert seconds_of(plan) == 1
    assert before == {
        p: (e.namespace, e.watermark) for p, e in move.before.store.partitions.items()
    }
