"""The ledger keeps every line, and notices when one is gone, exchanged or torn."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from installer.records.event import event
from installer.records.ledger import LINE_MAX, START, TORN, Head, Ledger
from sealift.digest import sha256
from sealift.errors import IntegrityError, StoreError, TrustError

TIME = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger of three lines."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for number in range(3):
        ledger.append("admitted", {"release": f"shop@{number}"}, TIME)
    return ledger


def _lines(ledger: Ledger) -> list[bytes]:
    return ledger.path.read_bytes().split(b"\n")[:-1]


def _names(ledger: Ledger) -> list[str]:
    return [entry.event for entry in ledger.read()]


def _write(ledger: Ledger, lines: list[bytes]) -> None:
    ledger.path.write_bytes(b"".join(line + b"\n" for line in lines))


def _head(ledger: Ledger) -> Head:
    return ledger.tail(START).head


def test_each_line_holds_the_digest_of_the_one_before_it(ledger: Ledger) -> None:
    """A stranger can check the chain with `sha256sum`."""
    lines = _lines(ledger)
    assert [json.loads(line)["prev"] for line in lines] == ["0" * 64, sha256(lines[0]), sha256(lines[1])]
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3]


def test_a_line_is_canonical_json(ledger: Ledger) -> None:
    """Keys are sorted, there are no spaces, and the time is UTC to the second."""
    first = _lines(ledger)[0]
    assert first == (
        b'{"detail":{"release":"shop@0"},"event":"admitted","prev":"' + b"0" * 64 + b'","seq":1,'
        b'"time":"2026-11-22T09:30:00Z"}'
    )


def test_read_gives_the_entries_back(ledger: Ledger) -> None:
    """What was appended is what is read."""
    assert [(entry.seq, entry.detail) for entry in ledger.read()] == [
        (1, {"release": "shop@0"}),
        (2, {"release": "shop@1"}),
        (3, {"release": "shop@2"}),
    ]


def test_a_ledger_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    """Before the first event there is no file."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert list(ledger.read()) == []
    assert ledger.verify(None).sound


def test_the_file_is_private(ledger: Ledger) -> None:
    """Nobody else may read what a site did."""
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600


def test_append_returns_the_head(ledger: Ledger) -> None:
    """The head is the last line's number, digest, and the size of the file."""
    head = ledger.append("refused", {}, TIME, after=_head(ledger))
    assert head == Head(seq=4, sha256=sha256(_lines(ledger)[-1]), size=ledger.path.stat().st_size)
    assert ledger.verify(head).sound


def test_an_event_is_escaped_before_it_is_written(tmp_path: Path) -> None:
    """Terminal escapes, newlines, right-to-left marks and lone surrogates are written as text."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("refused", {"na\x1bme": ["\x1b[2J\n", {"deep": "a\u202eb\udcff"}]}, TIME)
    (entry,) = ledger.read()
    assert entry.detail == {"na\\x1bme": ["\\x1b[2J\\n", {"deep": "a\\u202eb\\udcff"}]}


def test_an_event_is_bounded(tmp_path: Path) -> None:
    """Text, lists and nesting are cut, and what is still too much is left out."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    nested: list[object] = []
    for _ in range(50):
        nested = [nested]
    ledger.append("refused", {"text": "x" * 5000, "list": list(range(500)), "nested": nested}, TIME)
    ledger.append("refused", {f"{n}": ["y" * 5000] * 500 for n in range(500)}, TIME)
    first, second = ledger.read()
    assert first.detail["text"] == "x" * 1024 + "…"
    assert len(first.detail["list"]) == 64
    assert second.detail == {"shortened": True}
    assert max(map(len, _lines(ledger))) < LINE_MAX


def test_numbers_that_json_cannot_carry_are_written_as_text() -> None:
    """Negative and very large numbers are kept, as text."""
    assert event("refused", {"a": -1, "b": 2**64, "c": True, "d": None}, TIME).detail == {
        "a": "-1",
        "b": str(2**64),
        "c": True,
        "d": None,
    }


def test_an_event_takes_no_floats() -> None:
    """A float in a detail is a mistake of the caller."""
    with pytest.raises(TypeError, match="float"):
        event("refused", {"rate": 1.5}, TIME)


def test_an_event_has_a_plain_name() -> None:
    """The name of an event is lower-case letters and dashes."""
    with pytest.raises(ValueError, match="no name of an event"):
        event("Refused!", {}, TIME)


@pytest.mark.parametrize(
    "torn", [b'{"detail":{"rel', b"\x00" * 5000, b"\x00" * 90_000, b'{"half\x00\x00":1}\n\x00\x00']
)
def test_a_torn_line_is_cut_off_and_recorded(ledger: Ledger, torn: bytes) -> None:
    """What a power cut left of a line goes with the next append, which says so."""
    head = _head(ledger)
    with ledger.path.open("ab") as file:
        file.write(torn)
    ledger.append("refused", {"why": "x"}, TIME, after=head)
    assert _names(ledger) == ["admitted"] * 3 + [TORN, "refused"]
    assert list(ledger.read())[3].detail == {"bytes": len(torn), "line": 4}
    assert ledger.verify(head).sound


def test_a_torn_line_is_passed_over_by_readers(ledger: Ledger) -> None:
    """Reading and verifying do not stumble over a line that is being written."""
    with ledger.path.open("ab") as file:
        file.write(b'{"detail":')
    assert _names(ledger) == ["admitted"] * 3
    verdict = ledger.verify(None)
    assert verdict.sound
    assert verdict.torn == 10


def test_an_edited_line_is_named(ledger: Ledger) -> None:
    """A changed word breaks the chain at the next line, and the message names the changed one."""
    head = _head(ledger)
    _write(ledger, [line.replace(b"shop@1", b"shop@9") for line in _lines(ledger)])
    verdict = ledger.verify(head)
    assert not verdict.sound
    assert verdict.problem == "line 3 does not follow the one before it: line 2 was edited or exchanged"
    assert verdict.line == 3


def test_an_edited_last_line_is_named(ledger: Ledger) -> None:
    """The last line has nobody behind it but the head that is remembered."""
    head = _head(ledger)
    _write(ledger, [line.replace(b"shop@2", b"shop@9") for line in _lines(ledger)])
    assert ledger.verify(None).sound
    verdict = ledger.verify(head)
    assert verdict.problem is not None
    assert "line 3 is not the one that this site remembers" in verdict.problem
    assert verdict.line == 3


def test_a_forked_ledger_is_named(ledger: Ledger) -> None:
    """A consistent chain that is another one than the remembered is noticed."""
    head = _head(ledger)
    _write(ledger, _lines(ledger)[:1])
    for _ in range(4):
        ledger.append("admitted", {"release": "another"}, TIME)
    verdict = ledger.verify(head)
    assert verdict.line == 3
    assert "forked" in (verdict.problem or "")


def test_a_truncated_ledger_is_named(ledger: Ledger) -> None:
    """Whole lines that are missing at the end are noticed by the head."""
    head = _head(ledger)
    _write(ledger, _lines(ledger)[:1])
    verdict = ledger.verify(head)
    assert verdict.problem == "the ledger is truncated: it ends after line 1, and had 3 lines"
    assert verdict.line == 2


def test_a_remembered_line_cannot_be_torn(ledger: Ledger) -> None:
    """Half of a line that was acknowledged is no torn write but a truncation."""
    head = _head(ledger)
    os.truncate(ledger.path, head.size - 5)
    assert not ledger.verify(head).sound


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda lines: lines[:1] + lines[2:], "says that it is line 3"),
        (lambda lines: [lines[1], lines[0], lines[2]], "says that it is line 2"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], "says that it is line 1"),
        (lambda lines: [lines[0], b"no json", lines[2]], "line 2 is not valid json"),
        (lambda lines: [lines[0], b"{}", lines[2]], "line 2 is no entry"),
        (lambda lines: [lines[0], lines[1].replace(b'"seq"', b'"x":1,"seq"'), lines[2]], "line 2 is no entry"),
        (lambda lines: [lines[0], b"x" * LINE_MAX, lines[2]], "line 2 has no end"),
    ],
    ids=["removed", "exchanged", "doubled", "no json", "no entry", "unknown field", "over-long"],
)
def test_a_broken_chain_is_named(ledger: Ledger, change: Callable[[list[bytes]], list[bytes]], match: str) -> None:
    """Whatever is done to the lines, reading stops at the first that is not in order."""
    _write(ledger, change(_lines(ledger)))
    with pytest.raises(IntegrityError, match=match):
        list(ledger.read())
    assert match in (ledger.verify(None).problem or "")


def test_appending_to_a_truncated_ledger_is_refused(ledger: Ledger) -> None:
    """Nothing is written behind a gap."""
    head = _head(ledger)
    _write(ledger, _lines(ledger)[:2])
    with pytest.raises(TrustError, match="is truncated"):
        ledger.append("refused", {}, TIME, after=head)
    assert len(_lines(ledger)) == 2


def test_appending_to_an_edited_ledger_is_refused(ledger: Ledger) -> None:
    """Nothing is written behind a line that is not the remembered one."""
    head = _head(ledger)
    _write(ledger, [line.replace(b"shop@2", b"shop@9") for line in _lines(ledger)])
    with pytest.raises(TrustError, match="line 3 is not the one that was written"):
        ledger.append("refused", {}, TIME, after=head)


def test_a_full_disk_leaves_no_half_line(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only a part of a line could be written, that part is removed again."""
    before = ledger.path.read_bytes()
    write = os.write
    calls: list[int] = []

    def once(descriptor: int, content: memoryview) -> int:
        calls.append(len(content))
        if len(calls) == 1:
            return write(descriptor, content[:40])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", once)
    with pytest.raises(StoreError, match="no space left") as caught:
        ledger.append("refused", {}, TIME)
    assert "free some space" in (caught.value.hint or "")
    assert ledger.path.read_bytes() == before


def test_a_link_in_place_of_the_ledger_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link is refused, so that no other file is written to."""
    (tmp_path / "ledger.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        Ledger(tmp_path / "ledger.jsonl").append("refused", {}, TIME)
    assert not (tmp_path / "elsewhere").exists()


def test_a_long_ledger_is_continued_from_its_head(tmp_path: Path) -> None:
    """With a head at hand, an append reads the ledger's end and not all of it."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    head = ledger.append_all([event("admitted", {"text": "x" * 900}, TIME) for _ in range(300)])
    before = ledger.path.read_bytes()
    ledger.path.write_bytes(b"?" * 1000 + before[1000:])
    assert ledger.append("refused", {}, TIME, after=head).seq == 301
    assert ledger.verify(None).line == 1
