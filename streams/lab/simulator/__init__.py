"""Closed-loop simulation: how good the decisions are, against what people use instead.

A `world` is fixed before the first tick: `admission` and `building` make it, `tastes` says what its
viewers truly think. `loop` plays a contender through it: `serving` fills slots, `traffic` makes
feedback of them. Who takes part stands in `lineup`: `contenders`, `lanes`, `joint`, the real fold
in `folded`; in `keeping` under a keeper that learns, in `pricing` with prices that move. `measures`
says what a run was worth, `comparing` plays many, `plots` draws them; `attack` counts what fakes
cost.
"""
