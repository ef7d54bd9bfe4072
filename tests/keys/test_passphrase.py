"""Where a passphrase comes from, and which are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from keys.passphrase import LONGEST, VARIABLE, PassphraseSource
from sealift.errors import TrustError, UsageError


class Person:
    """Answers one prompt after the other, and remembers the questions."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []

    def __call__(self, question: str) -> str:
        self.questions.append(question)
        return self.answers.pop(0)


def _source(
    file: Path | None = None, environ: Mapping[str, str] | None = None, prompt: Person | None = None
) -> PassphraseSource:
    return PassphraseSource(file=file, environ=environ or {}, prompt=prompt)


def _file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "passphrase"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"from the file", b"from the file\n", b"from the file\r\nsecond line\n"])
def test_the_file_comes_first_and_its_first_line_counts(tmp_path: Path, content: bytes) -> None:
    """The file wins over the environment and the prompt; line ends do not belong to it."""
    source = _source(_file(tmp_path, content), {VARIABLE: "from the environment"}, Person())
    assert source.existing("key") == source.new("key") == b"from the file"


def test_the_environment_comes_second() -> None:
    """The environment wins over the prompt."""
    source = _source(environ={VARIABLE: "from the environment"}, prompt=Person())
    assert source.existing("key") == source.new("key") == b"from the environment"


def test_a_person_is_asked_once_to_unlock() -> None:
    """An existing key's passphrase is asked for once, by the key's name."""
    person = Person("from a person")
    assert _source(prompt=person).existing("online.pem") == b"from a person"
    assert len(person.questions) == 1
    assert "online.pem" in person.questions[0]


def test_a_person_is_asked_twice_for_a_new_key() -> None:
    """A new passphrase must be given twice."""
    person = Person("from a person", "from a person")
    assert _source(prompt=person).new("key") == b"from a person"
    assert len(person.questions) == 2


def test_two_different_answers_are_refused() -> None:
    """A typing error in a new passphrase is caught."""
    with pytest.raises(UsageError, match="differ"):
        _source(prompt=Person("from a person", "from a persom")).new("key")


@pytest.mark.parametrize("kind", ["existing", "new"])
def test_without_a_terminal_both_alternatives_are_named(kind: str) -> None:
    """Nobody to ask is wrong usage, and the hint names the file and the variable."""
    with pytest.raises(UsageError, match="no terminal") as caught:
        getattr(_source(), kind)("key")
    assert caught.value.exit_code == 2
    assert caught.value.hint is not None
    assert "--passphrase-file" in caught.value.hint
    assert VARIABLE in caught.value.hint


@pytest.mark.parametrize("short", ["seven 7", "äöüäöüä"])
def test_a_short_passphrase_is_refused_for_a_new_key(short: str) -> None:
    """Fewer than eight characters, not bytes, make no key; they may unlock an older one."""
    source = _source(environ={VARIABLE: short})
    with pytest.raises(UsageError, match="shorter than 8"):
        source.new("key")
    assert source.existing("key") == short.encode()


@pytest.mark.parametrize("kind", ["existing", "new"])
@pytest.mark.parametrize(("text", "words"), [("", "is empty"), ("x" * (LONGEST + 1), "longer than")])
def test_an_empty_or_over_long_passphrase_is_refused_from_everywhere(
    tmp_path: Path, kind: str, text: str, words: str
) -> None:
    """None of the three places may give nothing, or more than openssl could read."""
    for source in (
        _source(_file(tmp_path, text.encode() + b"\nsecond line")),
        _source(environ={VARIABLE: text}),
        _source(prompt=Person(text)),
    ):
        with pytest.raises(UsageError, match=words):
            getattr(source, kind)("key")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_passphrase_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The passphrase file is as private as a key."""
    with pytest.raises(TrustError, match="open to other users") as caught:
        _source(_file(tmp_path, b"from the file", mode)).existing("key")
    assert caught.value.hint is not None
    assert "chmod 600" in caught.value.hint


def test_a_pin_has_variables_of_its_own(tmp_path: Path) -> None:
    """A file that a variable names comes first, then the variable, then a person."""
    path = _file(tmp_path, b"1234\n")
    both = {"SEALIFT_PIN": "5678", "SEALIFT_PIN_FILE": str(path)}
    assert _source(environ=both).pin("hsm:2") == b"1234"
    assert _source(environ={"SEALIFT_PIN": "5678"}).pin("hsm:2") == b"5678"
    assert _source(prompt=Person("9012")).pin("hsm:2 (PIN)") == b"9012"


def test_a_passphrase_is_never_tried_as_a_pin(tmp_path: Path) -> None:
    """Attack 14: a token locks itself after a few wrong PINs, and a passphrase is one; nor is a PIN a passphrase."""
    source = _source(_file(tmp_path, b"a passphrase\n"), environ={"SEALIFT_PASSPHRASE": "another one"})
    with pytest.raises(UsageError, match="a PIN is needed") as caught:
        source.pin("hsm:2")
    assert "SEALIFT_PIN" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="a passphrase is needed"):
        _source(environ={"SEALIFT_PIN": "5678"}).existing("key.pem")


def test_a_file_with_a_pin_is_private(tmp_path: Path) -> None:
    """Attack 15: a file that others may read is refused."""
    path = _file(tmp_path, b"1234\n", 0o644)
    with pytest.raises(TrustError, match="open to other users"):
        _source(environ={"SEALIFT_PIN_FILE": str(path)}).pin("hsm:2")
