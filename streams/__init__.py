"""Decide who sees a short video next, exactly and explainably, from one ordered log.

Reading order: `core.units` (every noun on one screen), `core.events` and `core.decisions`
(what goes in and what comes out), `core.fold` (the pure function between them),
`runtime.worker` (the one loop that owns the order of side effects), `cli` (where real
drivers meet ports).
"""
