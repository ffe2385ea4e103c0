"""Lists of files as a hub sends them: only what makes sense is believed."""

import pytest

from circuitlapse.errors import HubError
from circuitlapse.hub import RetryPolicy, fetch_snapshot
from circuitlapse.hub.audit import Asked, Listings, audit
from circuitlapse.hub.listing import MAX_FILES
from tests.fake_hub import FAULTS
from tests.unit.hub.conftest import REPO

QUICK = RetryPolicy(attempts=2, first_wait_s=0.0, longest_wait_s=0.0)
GOOD = {"rfilename": "a.json", "size": 1, "blobId": "0" * 40}
SHA = "0" * 64
NAMES = {
    "above": "../a.json",
    "inside": "a/../../b.json",
    "absolute": "/etc/passwd",
    "here": "./a.json",
    "doubled": "a//b.json",
    "empty": "",
    "nul": "a\0.json",
    "line end": "a\n.json",
    "backslash": "..\\a.json",
    "control": "a\x1b[2J.json",
    "long": "a" * 5000,
    "number": 7,
    "none": None,
}
WRONG = {
    "size is text": {"size": "12"},
    "size is a truth value": {"size": True},
    "size is negative": {"size": -1},
    "size is huge": {"size": 10**18},
    "size is a fraction": {"size": 1.5},
    "hash of another length": {"blobId": "0" * 39},
    "hash is a list": {"blobId": []},
    "large file without hash": {"lfs": {"size": 1}},
    "large file of another size": {"lfs": {"sha256": SHA, "size": 2}},
    "large file is text": {"lfs": "yes"},
}


def refused(hub, tmp_path, match=""):
    with pytest.raises(HubError, match=rf"at step1000: the answer of 127.*{match}") as error:
        fetch_snapshot(REPO, "step1000", tmp_path / "a", retry=QUICK)
    assert len(str(error.value)) < 500
    assert str(error.value).isprintable()
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_file_beside_others_has_is_refused(hub, tmp_path, name):
    bad = GOOD | {"rfilename": NAMES[name]}
    hub.listing = lambda answer: answer | {"siblings": [*answer["siblings"], bad]}
    refused(hub, tmp_path, "name")


@pytest.mark.parametrize("kind", WRONG)
def test_a_size_or_hash_that_cannot_be_is_refused(hub, tmp_path, kind):
    hub.listing = lambda answer: answer | {"siblings": [GOOD | WRONG[kind]]}
    refused(hub, tmp_path, r"a\.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: [answer],
        lambda answer: None,
        lambda answer: answer | {"sha": 7},
        lambda answer: answer | {"sha": "../../etc"},
        lambda answer: answer | {"siblings": {"a": 1}},
        lambda answer: answer | {"siblings": ["a"]},
        lambda answer: answer | {"siblings": [GOOD, GOOD]},
        lambda answer: answer | {"siblings": [GOOD] * (MAX_FILES + 1)},
    ],
)
def test_a_list_of_another_form_is_refused(hub, tmp_path, change):
    hub.listing = change
    refused(hub, tmp_path)


@pytest.mark.parametrize("fault", ["deep", "no json", "bomb", "html"])
def test_an_answer_that_is_no_list_is_refused(hub, tmp_path, fault):
    hub.faults = [FAULTS[fault]("/api/*")]
    refused(hub, tmp_path)


def test_a_list_without_an_end_is_refused(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("circuitlapse.hub.listing.MAX_BYTES", 2**20)
    hub.faults = [FAULTS["endless"]("/api/*")]
    refused(hub, tmp_path, "more than 1,048,576 bytes")
    assert hub.sent < 2**24


@pytest.mark.parametrize(
    "branches",
    [None, [7], [{"name": "a\nb", "targetCommit": "0" * 40}], [{"name": "a", "targetCommit": "b"}]],
)
def test_branches_of_another_form_are_refused(hub, tmp_path, branches):
    hub.listing = lambda answer: {"branches": branches, "tags": []}
    with pytest.raises(HubError, match=r"at main: the answer of 127"):
        audit([Asked("m", 1, REPO, "step1")], Listings.at(tmp_path / "listings.json"), QUICK)
