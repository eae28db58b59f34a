"""What `media-atproto lexicons` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from worker.cli.output import Table, say, show

if TYPE_CHECKING:
    from worker.operations.lexicons import Checked, Finding, Publication


def print_page(checked: Sequence[Checked]) -> None:
    """Print a line for each lexicon, and what was found."""
    rows = [(each.nsid, each.against or "-", _verdict(each)) for each in checked]
    show(Table(rows, header=("lexicon", "compared with", "found")))
    for each in checked:
        for finding in each.findings:
            say(f"{finding.file}: {finding.place}")
            say(_told(finding), "red")


def _verdict(checked: Checked) -> str:
    if checked.findings:
        count = len(checked.findings)
        return "1 finding" if count == 1 else f"{count} findings"
    return "compatible" if checked.against else "valid, not published yet"


def _told(finding: Finding) -> str:
    change = f"was {finding.was}, is {finding.now}: " if finding.was else ""
    return f"  {change}{finding.why}"


def print_lines(checked: Sequence[Checked]) -> None:
    """Print a JSON object for each lexicon."""
    for each in checked:
        findings = [{**asdict(finding), "file": str(finding.file)} for finding in each.findings]
        line = {"nsid": each.nsid, "file": str(each.file), "against": each.against or None}
        click.echo(json.dumps({**line, "findings": findings}))


def tell_breaks(publication: Publication) -> None:
    """Print what publishing a lexicon would break."""
    from worker.operations.lexicons.check import told_value

    for found in publication.breaks:
        say(f"{publication.key.rkey}: {found.path}")
        say(f"  was {told_value(found.was)}, is {told_value(found.now)}: {found.why}", "red")


def tell_dns(name: str, did: str) -> None:
    """Say which TXT record has to be in the DNS, and what is there."""
    from worker.operations.lexicons import DnsError, did_in, look_up

    say(f'{name} TXT "did={did}"')
    try:
        found = did_in(look_up(name))
    except DnsError as error:
        say(f"  cannot be looked up: {error}", "yellow")
        return
    if found == did:
        say("  is in the DNS", "green")
    else:
        said = f"names {found}" if found else "is not in the DNS"
        say(f"  {said}: until it is as above, nobody finds these lexicons", "yellow")
