"""Version 0.1.0 of the fold: rows, rule and receipts of a log that began under it.

Theory of operation. A partition whose keys are not `upgraded` is folded by this room: the rows, the
decisions and the receipts come out byte for byte as 0.1.0 made them, whoever folds and whenever.
The signed `upgrade` record ends that: at its place every row turns into one of today (`upgrade`),
the policy in force is read as today's (`translation`), and `core.fold` goes on. So a worker that
continues the counters of 0.1.0, one that counts its log from the beginning, and a recount agree on
every byte behind that record. A fresh installation never comes here.

Nothing here changes any more: what it computed is stored.
"""
