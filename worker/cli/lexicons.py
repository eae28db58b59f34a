"""`media-atproto lexicons`: check lexicons, and publish them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.confirmation import DRY_RUN, YES, NotDoneError, check_can_ask, confirm
from worker.cli.environment import open_services
from worker.cli.output import (
    ExitCode,
    Table,
    echo,
    exit_with,
    on_interrupt,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from worker.operations.lexicons import (
        CheckedLexicon,
        LexiconFinding,
        LexiconSource,
        Publication,
    )
    from worker.pds.repo import Repo

_DNS, _AT = "dns", "at://"
_INTERRUPTED = (
    "Interrupted: the lexicons that are printed here are published, and one more may be. "
    "To publish the rest, run the same command again."
)


@click.group()
def lexicons() -> None:
    """Check and publish the lexicons of all media types."""


@lexicons.command(short_help="Check that the lexicons are valid.")
@click.option(
    "--against",
    metavar="WHERE",
    help="Compare with the lexicons published here: a folder, the repo at://DID, or `dns` for the "
    "repo that the DNS names.  [default: the saved copies of each package]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_obj
def check(env_file: Path | None, against: str | None, *, as_json: bool) -> None:
    """Check that the lexicons are valid, and compatible with the published versions.

    Valid: a lexicon uses only features of the lexicon language, and its path matches its NSID.
    Compatible: records of the published version are valid in the new version and vice versa, so no
    field becomes required or optional, no type changes, and no limit becomes tighter or looser.
    Allowed changes: new optional fields, known values, descriptions.

    Lexicons of other packages are checked as well. Without --against, or with a folder, no network
    and no environment are needed.

    \b
    Exit codes:
      0  all are valid and compatible
      1  findings: the file, the place in it, the old and new value, and what the
         change breaks
      2  error: wrong usage, or the published lexicons cannot be read

    \b
      media-atproto lexicons check
      media-atproto lexicons check --against dns
      media-atproto lexicons check --against at://did:plc:qjkj26aa2hyh2ihqhjynhz5x
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    with ExitStack() as resources:
        published = _open_published(env_file, against, resources) if against else None
        checked = list(_check_all(published))
    (print_lines if as_json else print_page)(checked)
    found = any(each.findings for each in checked)
    exit_with(ExitCode.FOUND if found else ExitCode.OK)


@lexicons.command(short_help="Publish the lexicons as records.")
@click.argument("nsids", metavar="[NSID]...", nargs=-1)
@click.option(
    "--account",
    "name",
    required=True,
    metavar="USER",
    help="The account of the NSIDs' authority, on the platform: a screen name, a handle, a subject "
    "or a DID.",
)
@DRY_RUN
@YES
@click.option(
    "--save", is_flag=True, help="Save copies beside the lexicons, for `check` to compare with."
)
@click.option(
    "--break-compatibility",
    is_flag=True,
    help="Also publish changes that break existing readers and records.",
)
@click.pass_obj
def publish(
    env_file: Path | None,
    nsids: tuple[str, ...],
    name: str,
    *,
    dry_run: bool,
    yes: bool,
    save: bool,
    break_compatibility: bool,
) -> None:
    """Publish lexicons as records of their authority's account.

    Each becomes a record of com.atproto.lexicon.schema with its NSID as the key, and is read back.
    Unchanged lexicons are not written again. Then the DNS record that must name the account is
    printed, and whether it does. NSIDs as arguments limit the command to these.

    A change that breaks the published version is refused without --break-compatibility. With it,
    the command asks you at a terminal to type `break`. In scripts, give --yes.

    \b
    Exit codes:
      0  all is published (with --dry-run: could be)
      1  nothing was written: a lexicon is invalid, or breaks its published
         version; or the confirmation was wrong
      2  error: wrong usage, an unknown user, or a service or the account cannot
         be used
      130  interrupted

    \b
      media-atproto lexicons publish --account aesthetic.computer --dry-run
      media-atproto lexicons publish --account aesthetic.computer --save
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    folders = _select(nsids)
    with closing(open_services(env_file)) as services:
        publisher = _Publisher(
            services.pds.repo(services.storage.accounts.resolve(name)),
            break_compatibility=break_compatibility,
            yes=yes,
        )
        planned = publisher.plan(services.media.lexicons.document(nsid) for nsid in folders)
        code = publisher.print_plan(planned) if dry_run else publisher.publish(planned)
    if save and not (code or dry_run):
        _save(folders)
    for dns in dict.fromkeys(map(_dns_name, folders)):
        print_dns_record(dns, publisher.repo.did)
    exit_with(code)


def _folders() -> tuple[Path, ...]:
    from worker.media.registry import registry
    from worker.media.validation.files import OWN_FOLDER

    return (OWN_FOLDER, *registry().lexicon_folders)


def _open_published(env_file: Path | None, against: str, resources: ExitStack) -> LexiconSource:
    from worker.media.validation.files import read_published
    from worker.operations.lexicons import DnsSource, FolderSource, RepoSource, look_up

    if against != _DNS and not against.startswith(_AT):
        if not Path(against).is_dir():
            raise click.BadParameter(f"{against}: no such folder", param_hint="--against")
        return FolderSource(read_published(Path(against)), against)
    services = resources.enter_context(closing(open_services(env_file)))
    if against == _DNS:
        return DnsSource(look_up, services.pds.client_of)
    return RepoSource(services.pds.client_of, against.removeprefix(_AT))


def _check_all(published: LexiconSource | None) -> Iterator[CheckedLexicon]:
    from worker.operations.lexicons import check

    for folder in _folders():
        yield from check(folder, published)


def _select(nsids: Sequence[str]) -> dict[str, Path]:
    """Return the folder of each lexicon to publish; raises if a lexicon is invalid."""
    from worker.operations.lexicons import check

    checked = [(each, folder) for folder in _folders() for each in check(folder)]
    known = {each.nsid: folder for each, folder in checked if each.file != folder}
    if unknown := sorted(set(nsids) - known.keys()):
        names = ", ".join(known)
        raise click.BadParameter(f"unknown lexicon {unknown[0]}; known: {names}")
    invalid = [finding for each, _ in checked for finding in each.findings if not finding.was]
    if invalid:
        faults = "; ".join(f"{finding.file}: {finding.place}" for finding in invalid)
        raise NotDoneError(f"nothing was published: {faults}")
    return {nsid: folder for nsid, folder in known.items() if not nsids or nsid in nsids}


@dataclass(frozen=True, slots=True)
class _Publisher:
    """Publishes lexicons in a repo; asks before it breaks what is published."""

    repo: Repo
    break_compatibility: bool
    yes: bool

    def plan(self, documents: Iterable[Mapping[str, object]]) -> list[Publication]:
        """Plan the publications, and print what they break."""
        from worker.operations.lexicons import plan_publications

        planned = plan_publications(self.repo, documents)
        for publication in planned:
            print_breaking_changes(publication)
        return planned

    def print_plan(self, planned: Sequence[Publication]) -> ExitCode:
        """Print what would be done, and whether it would be refused."""
        from worker.operations.lexicons import PublishOutcome

        for each in planned:
            would = "" if each.outcome is PublishOutcome.UNCHANGED else "would be "
            echo(f"{would}{each.outcome}  {each.key.uri}")
        is_refused = not self.break_compatibility and any(each.breaks for each in planned)
        return ExitCode.FOUND if is_refused else ExitCode.OK

    def publish(self, planned: Sequence[Publication]) -> ExitCode:
        """Publish the lexicons, or print why that is refused."""
        from worker.operations.lexicons import PublishRefusedError, publish

        broken = [each.key.rkey for each in planned if each.breaks]
        if broken and self.break_compatibility:
            check_can_ask(yes=self.yes)
            confirm(f"To break readers and records of {', '.join(broken)}", "break", yes=self.yes)
        try:
            with on_interrupt(_INTERRUPTED):
                for each in publish(
                    self.repo, planned, break_compatibility=self.break_compatibility
                ):
                    echo(f"{each.outcome:<9}  {each.key.uri}  {each.cid}")
        except PublishRefusedError as error:
            echo(f"Error: {error}; --break-compatibility publishes it anyway", "red", err=True)
            return ExitCode.FOUND
        return ExitCode.OK


def _save(folders: dict[str, Path]) -> None:
    from worker.media.validation.files import PUBLISHED, read_file, save_published

    for nsid, folder in folders.items():
        file = folder.joinpath(*nsid.split(".")).with_suffix(".json")
        document = read_file(file, folder).document
        echo(f"saved      {save_published(folder / PUBLISHED, document)}")


def _dns_name(nsid: str) -> str:
    from worker.operations.lexicons import dns_name

    return dns_name(nsid)


def print_page(checked: Sequence[CheckedLexicon]) -> None:
    """Print a line for each lexicon, and the findings."""
    rows = [(each.nsid, each.against or "-", _verdict(each)) for each in checked]
    print_table(Table(rows, header=("lexicon", "compared with", "found")))
    for each in checked:
        for finding in each.findings:
            echo(f"{finding.file}: {finding.place}")
            echo(_describe(finding), "red")


def _verdict(checked: CheckedLexicon) -> str:
    if checked.findings:
        count = len(checked.findings)
        return "1 finding" if count == 1 else f"{count} findings"
    return "compatible" if checked.against else "valid, not published yet"


def _describe(finding: LexiconFinding) -> str:
    change = f"was {finding.was}, is {finding.now}: " if finding.was else ""
    return f"  {change}{finding.why}"


def print_lines(checked: Sequence[CheckedLexicon]) -> None:
    """Print one JSON object per line for each lexicon."""
    for each in checked:
        findings = [{**asdict(finding), "file": str(finding.file)} for finding in each.findings]
        line = {"nsid": each.nsid, "file": str(each.file), "against": each.against or None}
        print_json({**line, "findings": findings})


def print_breaking_changes(publication: Publication) -> None:
    """Print what publishing a lexicon would break."""
    from worker.operations.lexicons.check import format_constraint

    for found in publication.breaks:
        echo(f"{publication.key.rkey}: {found.path}")
        echo(
            f"  was {format_constraint(found.was)}, is {format_constraint(found.now)}: {found.why}",
            "red",
        )


def print_dns_record(name: str, did: str) -> None:
    """Print the required TXT record, and whether it is in the DNS."""
    from worker.operations.lexicons import DnsError, did_in, look_up

    echo(f'{name} TXT "did={did}"')
    try:
        found = did_in(look_up(name))
    except DnsError as error:
        echo(f"  cannot be looked up: {error}", "yellow")
        return
    if found == did:
        echo("  is in the DNS", "green")
    else:
        fault = f"names {found}" if found else "is not in the DNS"
        echo(f"  {fault}: these lexicons cannot be found by their NSIDs", "yellow")
