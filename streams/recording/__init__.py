"""Recordings of topics and what can be done with them.

Reading order: `lines` (a record as text), `segments` and `manifest` (a folder of them), `recorder`
(log -> folder), `reader` (folder -> records), `replayer` (folder -> log), `folding` (folder ->
receipts, without Kafka), `damage` and `diff` (what is wrong, what differs).
"""
