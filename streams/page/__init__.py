"""The page: what operators watch in a browser, read by the same functions as the verbs.

Reading order: `views` (what each shows), `inquiries` (asked again and again, once for all),
`guard` (who may look), `server`, then `static/` (what a browser makes of it). It changes nothing.
"""
