"""Everybody who takes part in a comparison, by name."""

from collections.abc import Callable, Mapping
from typing import Final

from streams.lab.simulator.capping import CappedRule
from streams.lab.simulator.contenders import AlwaysWiden, Contender, Oracle, Thompson
from streams.lab.simulator.folded import FoldedRule
from streams.lab.simulator.joint import JointPosterior, LearnedPosterior
from streams.lab.simulator.keeping import KeptRule, apart
from streams.lab.simulator.lanes import PeekingZ, TrafficPools
from streams.lab.simulator.pricing import PricedRule
from streams.lab.simulator.serving import KnowingServers, LaggingServers, LeasingServers, Servers
from streams.lab.simulator.world import World

CONTENDERS: Final[Mapping[str, Callable[[World, Servers, int], Contender]]] = {
    "oracle": Oracle,
    "ladder": lambda world, servers, _: TrafficPools(world, servers),
    "peeking-z": lambda world, servers, _: PeekingZ(world, servers),
    "always-widen": AlwaysWiden,
    "thompson": Thompson,
    "rule-apart": lambda world, servers, _: FoldedRule(apart(world), servers),
    "rule": lambda world, servers, _: FoldedRule(world, servers),
    "rule-kept": lambda world, servers, _: KeptRule(world, servers),
    "rule-priced": lambda world, servers, _: PricedRule(world, servers),
    "rule-capped": lambda world, servers, _: CappedRule(world, servers),
    "joint-learned": LearnedPosterior,
    "joint-true": JointPosterior,
}
"""From a world, its feed servers and a seed to a contender; in the order of tables and plots."""

SERVERS: Final[Mapping[str, Callable[[], Servers]]] = {
    "knowing": KnowingServers,
    "leasing": LeasingServers,
    "lagging": LaggingServers,
}
"""Feed servers by name."""
