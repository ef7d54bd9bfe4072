"""Only regular files are read, at once, and no further than asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sealift.errors import StoreError, TrustError
from sealift.reading import bounded, opened


def test_a_file_is_read_up_to_one_byte_behind_its_limit(tmp_path: Path) -> None:
    """So that the caller sees that it is longer, and holds no more of it."""
    (tmp_path / "file").write_bytes(b"four")
    assert bounded(tmp_path / "file", 4) == b"four"
    assert bounded(tmp_path / "file", 2) == b"fou"


def test_a_name_that_is_missing_is_nothing(tmp_path: Path) -> None:
    """What that means is the caller's to say."""
    assert bounded(tmp_path / "file", 4) is None


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, make: object) -> None:
    """Attack 89: nobody waits for a FIFO, and no descriptor is left open."""
    assert callable(make)
    make(tmp_path / "it")
    before = os.listdir("/proc/self/fd")
    assert opened(tmp_path / "it") is None
    with pytest.raises(TrustError, match="not a regular file"):
        bounded(tmp_path / "it", 4)
    assert os.listdir("/proc/self/fd") == before


def test_a_link_is_followed_only_where_the_caller_says_so(tmp_path: Path) -> None:
    """Attack 99: nobody exchanges a file of a site by a link."""
    (tmp_path / "file").write_bytes(b"four")
    (tmp_path / "link").symlink_to("file")
    assert bounded(tmp_path / "link", 4, follow=True) == b"four"
    with pytest.raises(StoreError):
        bounded(tmp_path / "link", 4)
