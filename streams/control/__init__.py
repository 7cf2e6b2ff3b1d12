"""The control plane: who may be shown at all, to whom first, and under which policy.

Reading order: `admission.dossier` (the rules, pure), `admission.recognise` and `admission.review`,
`policy.catalogue` and `policy.file` (what the rules ask; read from `config/`), `app` (the Faust
agents around them). It only writes records to the log; every decision from evidence is taken in
`core`.
"""
