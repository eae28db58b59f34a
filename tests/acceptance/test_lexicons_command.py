"""`media-atproto lexicons`: published on a real PDS, read and resolved as anybody would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.resolver
import pytest
from click.testing import Result

from tests import terminal
from tests.acceptance.name_server import serving
from tests.bulk import repo
from tests.pictures import pixel_art
from tests.second_opinion import open_second_opinion
from tests.world import World, Worlds
from worker.media.validation.files import OWN_FOLDER, save_published
from worker.operations.lexicons import (
    DnsError,
    DnsSource,
    PublishRefusedError,
    check,
    look_up,
    plan_publications,
    publish,
)
from worker.operations.lexicons.published import COLLECTION

MOOD = "computer.aesthetic.mood"
OURS = [f"computer.aesthetic.{name}" for name in ("kidlisp", "mood", "painting", "piece")]
DNS_NAME = "_lexicon.aesthetic.computer"


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    """A world whose guests' account is the lexicons' authority, and has published them."""
    with worlds.open() as opened:
        result = call(opened, "publish", "--account", "art-guest")
        assert result.exit_code == 0, result.output
        yield opened


def call(world: World, *arguments: str, **environ: str) -> Result:
    """Run `lexicons` in this process."""
    return terminal.call(world, "lexicons", *arguments, **environ)


def read(world: World, did: str, nsid: str) -> dict[str, Any]:
    """Return a record as anybody reads it, without an account."""
    params = {"repo": did, "collection": COLLECTION, "rkey": nsid}
    answer = world.http.get("/xrpc/com.atproto.repo.getRecord", params=params)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def ours(nsid: str) -> dict[str, Any]:
    """Return one of our lexicons as its file has it."""
    file = OWN_FOLDER.joinpath(*nsid.split(".")).with_suffix(".json")
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def with_field(nsid: str, name: str, definition: dict[str, Any]) -> dict[str, Any]:
    """Return a lexicon of ours with another field."""
    document = ours(nsid)
    document["defs"]["main"]["record"]["properties"][name] = definition
    return document


def test_published_lexicons_are_records_that_anybody_can_read(world: World) -> None:
    """The key is the NSID, the record is the file, and its type is that of lexicons."""
    for nsid in OURS:
        assert read(world, world.guest_did, nsid)["value"] == {"$type": COLLECTION, **ours(nsid)}


def test_publishing_again_writes_nothing(world: World) -> None:
    """The repo has no new commit; the DNS record that is needed is printed each time."""
    before = world.revision(world.guest_did)
    result = call(world, "publish", "--account", world.guest_did)
    assert result.exit_code == 0
    assert result.stdout.count("unchanged") == 4
    assert f'{DNS_NAME} TXT "did={world.guest_did}"' in result.stdout
    assert world.revision(world.guest_did) == before


def test_publishing_keeps_to_the_budget_and_spends_none_of_it_again(world: World) -> None:
    """With points for one write all four can be published that are there, and no two others."""
    poor = {"RATE_LIMITS": "* points_hour=2"}
    assert call(world, "publish", "--account", "art-guest", **poor).exit_code == 0
    refused = call(world, "publish", "--account", world.ada, *OURS[2:], **poor)
    assert refused.exit_code == 2
    assert "points_hour" in refused.stderr


def test_a_dry_run_writes_nothing(world: World) -> None:
    """It says what would be done, and on which account."""
    before = world.revision(world.dids[world.ada])
    result = call(world, "publish", "--account", world.ada, "--dry-run", MOOD)
    assert result.exit_code == 0
    uri = f"at://{world.dids[world.ada]}/{COLLECTION}/{MOOD}"
    assert f"would be created  {uri}" in result.stdout
    assert world.revision(world.dids[world.ada]) == before


def test_the_ecosystems_reader_takes_what_is_published(
    world: World, bare_environ: dict[str, str], tmp_path: Path
) -> None:
    """Its parser takes the lexicons, and its validator a painting that was really published."""
    world.platform.store("dot.png", pixel_art(), None)
    item = world.platform.save_painting("dot", None)
    world.sync("painting", item)
    record = world.record("painting", item)
    assert "thumbnail" in record
    published = [read(world, world.guest_did, nsid)["value"] for nsid in OURS]
    opinion = open_second_opinion(bare_environ, tmp_path)
    valid, too_long = opinion.on_records(published, [record, {**record, "slug": "x" * 200}])
    assert valid is None
    assert "slug" in str(too_long)
    invalid = with_field(OURS[0], "more", {"type": "text"})
    assert "type" in str(opinion.on_lexicons([*published[1:], invalid]))


def test_a_compatible_change_is_published_and_others_are_refused(world: World) -> None:
    """An optional field may be added; a field that becomes required needs to be forced."""
    own, did = repo(world, world.ada), world.dids[world.ada]
    list(publish(own, plan_publications(own, [ours(MOOD)])))
    colour = with_field(MOOD, "colour", {"type": "string", "maxLength": 10})
    list(publish(own, plan_publications(own, [colour])))
    published = read(world, did, MOOD)
    assert published["value"] == {"$type": COLLECTION, **colour}
    strict = with_field(MOOD, "colour", {"type": "string", "maxLength": 5})
    planned = plan_publications(own, [strict])
    with pytest.raises(PublishRefusedError):
        list(publish(own, planned))
    assert read(world, did, MOOD) == published
    list(publish(own, planned, break_compatibility=True))
    assert read(world, did, MOOD)["value"] == {"$type": COLLECTION, **strict}


def test_the_command_refuses_what_breaks_readers(world: World) -> None:
    """Somebody else published a looser one under our name: the finding says so."""
    own = repo(world, world.bob)
    loose = ours(MOOD)
    loose["defs"]["main"]["record"]["properties"]["text"]["maxLength"] = 9000
    list(publish(own, plan_publications(own, [loose])))
    did = world.dids[world.bob]
    before = world.revision(did)
    result = call(world, "publish", "--account", world.bob)
    assert result.exit_code == 1
    assert "was 9000, is 5000" in result.stdout
    assert "--break-compatibility" in result.stderr
    assert world.revision(did) == before
    checked = call(world, "check", "--against", f"at://{did}")
    assert checked.exit_code == 1
    assert "defs.main.record.properties.text.maxLength" in checked.stdout


def test_check_compares_with_the_repo(world: World) -> None:
    """All four are as they were published."""
    result = call(world, "check", "--against", f"at://{world.guest_did}", "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["nsid"] for line in lines] == OURS
    assert all(line["against"] and not line["findings"] for line in lines)


def test_check_compares_with_a_folder_and_names_file_and_place(
    world: World, tmp_path: Path
) -> None:
    """What the ecosystem had, kept in a folder."""
    former = ours(MOOD)
    former["defs"]["main"]["record"]["required"] = ["text", "when"]
    save_published(tmp_path, former)
    result = call(world, "check", "--against", str(tmp_path))
    assert result.exit_code == 1
    assert "mood.json: defs.main.record.properties.ref" in result.stdout
    assert 'was "optional", is "required"' in result.stdout


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("check --against", "/nowhere/at/all"),
        ("check --against", "at://did:plc:" + "a" * 24),
        ("publish --account", "nobody"),
    ],
)
def test_a_place_that_cannot_be_had_is_trouble(world: World, command: str, name: str) -> None:
    """Exit code 2, not a finding, and not silence."""
    result = call(world, *command.split(), name)
    assert (result.exit_code, name.removeprefix("at://") in result.stderr) == (2, True)


def resolved(world: World, resolver: dns.resolver.Resolver) -> DnsSource:
    """Return the lexicons as anybody resolves them, by a name server of the test's."""
    return DnsSource(lambda name: look_up(name, resolver), world.services.pds.client_of)


def test_lexicons_are_found_by_their_nsid_alone(world: World) -> None:
    """DNS, DID, DID document, PDS, record."""
    texts = {DNS_NAME: ["v=spf1 -all", f"did={world.guest_did}"]}
    with serving(texts) as resolver:
        checked = list(check(OWN_FOLDER, resolved(world, resolver)))
    assert [(each.against, each.findings) for each in checked] == [(DNS_NAME, ())] * 4


@pytest.mark.parametrize(
    "texts", [{}, {DNS_NAME: ()}, {DNS_NAME: ["hello"]}, {DNS_NAME: ["did=a", "did=b"]}]
)
def test_a_name_that_leads_to_nobody_is_trouble(world: World, texts: dict[str, list[str]]) -> None:
    """No such name, no TXT record, none that names a DID, several that do."""
    with serving(texts) as resolver, pytest.raises(DnsError, match=r"_lexicon|DIDs"):
        resolved(world, resolver).find(MOOD)


def test_audit_and_wipe_leave_published_lexicons_alone(world: World) -> None:
    """They are in a collection that is no media type's."""
    world.sync("mood", world.platform.save_mood("calm", world.ada))
    own, did = repo(world, world.ada), world.dids[world.ada]
    list(publish(own, plan_publications(own, [ours(OURS[0])])))
    before = read(world, did, OURS[0])
    for arguments in (("audit", "--repair", "--force", "--yes"), ("wipe", world.ada, "--yes")):
        result = terminal.call(world, *arguments)
        assert result.exit_code == 0, result.output
    assert read(world, did, OURS[0]) == before
    assert "records removed" in result.output
