"""The lexicons of the records we publish: one JSON document a type, its path spelling its NSID.

They are the single source of truth for which fields a record has and how long each may be; the
`worker.media.validation` package reads them. https://atproto.com/specs/lexicon
"""
