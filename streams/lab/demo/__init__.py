"""The demo: one run of everything, and what is drawn of it.

Reading order: `run` (start, watch, stop, compare), `screen` (a frame while it runs), `summary`
(what is left at the end), `promised` (shares against their bars), `words` (what all share).
"""
