"""For producers: events checked, placed and published.

Imports neither Faust, uvloop nor rich: an application may embed it.
"""
