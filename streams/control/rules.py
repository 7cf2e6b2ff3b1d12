"""Everything that is read from `config/`, and whether it changed."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.control.admission.dossier import Tools
from streams.control.admission.plugins import RecogniserFault, load_recognisers
from streams.control.admission.review import ReviewGate
from streams.control.admission.taxonomy import Taxonomy
from streams.control.policy.catalogue import Catalogue
from streams.control.policy.file import PolicyRules

log: Final = logging.getLogger("streams.control")


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """Everything read from `config/`: replaced as a whole."""

    tools: Tools
    policy: PolicyRules


def load_rules(folder: Path) -> RulesInForce:
    """Read taxonomy, recognisers, gate, slices and policy; `Halt` with one line if one is wrong.

    A recogniser that cannot be built is logged and left out.
    """
    taxonomy = Taxonomy.from_toml(folder / "taxonomy.toml")
    catalogue = Catalogue.from_toml(folder / "slices.toml", taxonomy)
    policy = PolicyRules.from_toml(folder / "policy.toml", catalogue)
    recognisers, faults = load_recognisers(folder)
    for fault in faults:
        _report(fault)
    tools = Tools(
        recognisers=recognisers,
        gate=ReviewGate.from_toml(folder / "review.toml", taxonomy),
        catalogue=catalogue,
        guarantee=policy.guarantee,
        bound=policy.bound,
        report=_report,
    )
    return RulesInForce(tools, policy)


def file_stamps(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, size and time of change of every file that rules are read from."""
    stats = [(path.name, path.stat()) for path in sorted(folder.glob("*.toml"))]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _report(fault: RecogniserFault) -> None:
    log.error("recogniser %s: %s", fault.source, fault.error)
