"""Recordings of topics and what can be done with them.

Reading order: `lines` (a record as text), `segments` and `manifest` (a folder of them); `planning`,
`session` and `recorder` (log -> folder); `reader` (folder -> records); `replay_plan`, `routing`,
`replayer` and `ledger` (folder -> log); `folding` (folder -> receipts, without Kafka); `damage`,
`verification`, `diff` and `record_diff` (what is wrong, what differs).
"""
