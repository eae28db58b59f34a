"""Publishes MongoDB documents as AT Protocol records: the worker, and the operator's tools.

A worker runs `app`, `services`, `sync` and what is below them. Only an operator runs `operations`,
`web`, `dev` and `cli`. See docs/architecture.md.
"""
