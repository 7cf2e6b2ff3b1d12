"""The lab: traffic to try the pipeline on, simulated or from public logs.

Viewers in a closed loop: `uploads` (what creators publish), `taste` (what viewers truly like),
`viewers` (what they do then), `crowd` (who does what when), `feed` (to the topics), `story` (what
the receipts come to). How good decisions are: `simulator`. Public logs: `openbandit` and
`kuairand`, over `rows`. For measurements: `load`, `bench`, `scale`,
`recording_bench`, and `peers`, whom we run against.
"""
