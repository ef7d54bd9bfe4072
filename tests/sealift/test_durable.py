"""Writes that are whole or not there, and the lock."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealift.durable import TEMPORARY, Draft, disk_error, locked, make_folder, storing, write_all, write_file
from sealift.errors import StoreError


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(st.binary(max_size=3000), min_size=1, max_size=4))
def test_a_file_holds_what_was_last_written(tmp_path: Path, contents: list[bytes]) -> None:
    """Each write replaces the whole file and leaves nothing beside it."""
    for content in contents:
        write_file(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    """Attack 100: a file has the mode that was asked for."""
    former = os.umask(umask)
    try:
        write_file(tmp_path / "file", b"", mode=0o640)
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.parametrize("step", ["write", "fsync", "replace", "fchmod"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failed_write_leaves_the_former_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    """Attack 81 and 82: whichever step the disk refuses, the file is what it was, and nothing lies about."""
    path = tmp_path / "file"
    write_file(path, b"former")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(StoreError) as caught:
            write_file(path, b"new")
    assert caught.value.hint
    assert path.read_bytes() == b"former"
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_is_in_the_durable_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content is on the disk before its name is, and the name before anybody is told."""
    done: list[str] = []
    for step in ("write", "fsync", "replace"):
        real = getattr(os, step)

        def note(*arguments: object, step: str = step, real: object = real) -> object:
            assert callable(real)
            done.append(step)
            return real(*arguments)

        monkeypatch.setattr(os, step, note)
    write_file(tmp_path / "file", b"content")
    assert done == ["write", "fsync", "replace", "fsync"]


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 83: a system that takes three bytes at a time gets them all."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:3]))
    reader, writer = os.pipe()
    write_all(writer, memoryview(b"twelve bytes"))
    os.close(writer)
    assert os.read(reader, 100) == b"twelve bytes"
    os.close(reader)


def test_a_link_in_place_of_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    """Attack 99: whoever plants a link under the temporary name gets nothing written through it."""
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / f"{TEMPORARY}file.{os.getpid()}").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError):
        write_file(tmp_path / "file", b"new")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_draft_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    """The end of the work on it is enough, whatever ended it."""
    with Draft(tmp_path / "draft") as draft:
        draft.write(b"half")
        assert os.listdir(tmp_path) == ["draft"]
    assert not os.listdir(tmp_path)


def test_a_draft_that_is_kept_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    """It has its own name as soon as it is kept, and ending the work on it changes nothing."""
    (tmp_path / "file").write_bytes(b"former")
    with Draft(tmp_path / "draft") as draft:
        draft.write(b"new ")
        draft.write(b"content")
        assert (tmp_path / "file").read_bytes() == b"former"
        draft.keep(tmp_path / "file", sync=False)
    assert (tmp_path / "file").read_bytes() == b"new content"
    assert os.listdir(tmp_path) == ["file"]


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    """Making a folder that is there already is no error."""
    for _ in range(2):
        make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


@pytest.mark.parametrize("name", ["file", "link", "file/below"])
def test_something_else_in_place_of_a_folder_is_an_error(tmp_path: Path, name: str) -> None:
    """A file or a dangling link that bears the folder's name is not taken for it."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("missing")
    with pytest.raises(StoreError):
        make_folder(tmp_path / name)


def test_the_lock_keeps_a_second_process_out(tmp_path: Path) -> None:
    """Attack 90: two commands do not work on one place; the second says so and leaves."""
    script = (
        "import sys; from pathlib import Path\n"
        "from sealift.durable import locked; from sealift.errors import StoreError\n"
        "try:\n with locked(Path(sys.argv[1]), what='x'): print('in')\n"
        "except StoreError as error: print(error.message)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def attempt() -> str:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    with locked(tmp_path / "lock", what="the site"):
        assert "another sealift command" in attempt()
    assert attempt() == "in\n"


def test_a_lock_that_is_held_is_waited_for_no_longer_than_asked(tmp_path: Path) -> None:
    """A second holder in this process is refused as well, after the time that it was ready to wait."""
    with (
        locked(tmp_path / "lock", what="the site"),
        pytest.raises(StoreError, match="the site"),
        locked(tmp_path / "lock", what="the site", wait=0.1),
    ):
        pass


def test_a_stale_lock_file_locks_nobody_out(tmp_path: Path) -> None:
    """Attack 91: the file may stay; the lock ends with its holder."""
    (tmp_path / "lock").write_bytes(b"12345")
    with locked(tmp_path / "lock", what="the site"):
        pass
    with locked(tmp_path / "lock", what="the site"):
        pass


def test_a_link_in_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    """Attack 99: the lock is a file of its own."""
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError), locked(tmp_path / "lock", what="the site"):
        pass


def test_the_disks_words_come_with_a_remedy() -> None:
    """A full disk is named, and what to do about it."""
    error = disk_error(OSError(errno.ENOSPC, "No space left on device"), "/depot")
    assert error.message == "/depot: no space left on device"
    assert "free some space" in (error.hint or "")
    with pytest.raises(StoreError, match="x: input/output error"), storing("x"):
        raise OSError(errno.EIO, "Input/output error")
