"""Sample output in the documentation, printed by real commands on real services.

`make transcripts` (or `python -m tests.transcripts`) runs the commands of `commands.py` and writes
what they print into the pages: into the code block after each `<!-- transcript: NAME -->`.
"""
