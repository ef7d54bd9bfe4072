"""The terminal conventions that the three programs share, in a program made for the purpose."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from sealift import cli
from sealift.errors import IntegrityError, TrustError
from sealift.progress import Progress

PROGRAM = """
import click
from sealift.cli import Program, run

program = Program(
    "sealift-try",
    help="Tries what the programs share.",
    commands={
        "work": ("worker:work", "do the work"),
        "also": ("worker:also", "do more work"),
        "absent": ("no_such_module:absent", "cannot be imported"),
    },
    example='''
        sealift-try work --json   # two  spaces are kept
        sealift-try also
    ''',
)

if __name__ == "__main__":
    run(program)
"""

WORKER = """
import signal
import sys
import click
from sealift.cli import Bar, command, emit, json_option, quiet_option
from sealift.errors import DeployError

@command(example="sealift-try work")
@click.option("--for", "reason", default="", help="Why.")
@click.option("--level", type=click.IntRange(1, 19), default=3, help="How much.")
@json_option
def work(reason: str, level: int, as_json: bool) -> None:
    '''Do the work.'''
    if reason == "interrupt":
        raise KeyboardInterrupt
    if reason.startswith("SIG"):
        signal.raise_signal(getattr(signal, reason))
    if reason == "bug":
        raise ValueError("odd")
    if reason == "failure":
        raise DeployError("no room\\nfor \\x1b[31mthis", hint="make room")
    if reason == "ask":
        click.prompt("name", err=True)
    emit({"level": level, "b": 1, "a": reason}, as_json, f"level {level}")
    if reason == "late":
        raise DeployError("too late")
    if reason == "pending":
        click.get_current_context().exit(11)

@command(example="sealift-try also")
@quiet_option
def also(quiet: bool) -> None:
    '''Do more work.'''
    bar = Bar(quiet=quiet)
    bar.start("packing", 2_000_000)
    bar.advance(1_000_000)
    print("threads", __import__("threading").active_count(), "tqdm" in sys.modules)
    raise DeployError("stopped")
"""

Try = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def attempt(tmp_path: Path) -> Try:
    """Run the program made for the purpose, with the given arguments and changes to the environment."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "worker.py").write_text(WORKER)

    def runner(*args: str, source: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        start = [sys.executable, "-c", source] if source else [sys.executable, str(tmp_path / "program.py")]
        return subprocess.run(
            [*start, *args],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return runner


def on_terminal(arguments: list[str], **environment: str) -> str:
    """What a process writes to a terminal that is its standard error."""
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    with subprocess.Popen(
        arguments, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=terminal
    ) as process:
        os.close(terminal)
        written = b""
        try:
            while piece := os.read(controller, 65536):
                written += piece
        except OSError:  # how Linux says that the other end is closed
            pass
        finally:
            os.close(controller)
        process.wait(60)
    return written.decode()


def test_help_lists_commands_in_given_order_without_importing_them(attempt: Try) -> None:
    """The program's help needs neither the command's modules nor anything heavy."""
    heavy = "{'worker', 'json', 'tqdm', 'tuf', 'msgspec', 'cryptography', 'urllib3', 'hashlib', 'asyncio'}"
    source = (
        "import sys, program\n"
        "try: program.run(program.program)\n"
        f"finally: assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)\n"
    )
    done = attempt("--help", source=source)
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("work    do the work") < done.stdout.index("also    do more work")


def test_help_shows_example_verbatim(attempt: Try) -> None:
    """An example's line breaks and spaces are not rewrapped."""
    shown = attempt("--help").stdout
    assert shown.endswith("Example:\n  sealift-try work --json   # two  spaces are kept\n  sealift-try also\n")


def test_help_of_command_comes_from_its_module(attempt: Try) -> None:
    """A command's own help names the program, its options and its example."""
    shown = attempt("work", "--help").stdout
    assert shown.startswith("Usage: sealift-try work [OPTIONS]\n\n  Do the work.\n")
    assert shown.endswith("Example:\n  sealift-try work\n")


def test_version_names_program(attempt: Try) -> None:
    """`--version` prints the program and this build's version."""
    import sealift

    assert attempt("--version").stdout == f"sealift-try {sealift.__version__}\n"


def test_program_without_command_shows_help_as_wrong_usage(attempt: Try) -> None:
    """Without a command the help goes to standard error and the exit code is that of wrong usage."""
    done = attempt()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: sealift-try")


def test_result_goes_to_standard_output(attempt: Try) -> None:
    """A result is text by default, and nothing is written to standard error."""
    done = attempt("work")
    assert (done.returncode, done.stdout, done.stderr) == (0, "level 3\n", "")


def test_json_result_is_one_sorted_document(attempt: Try) -> None:
    """With `--json` the result is one document with sorted keys and an indent of two."""
    assert attempt("work", "--json").stdout == '{\n  "a": "",\n  "b": 1,\n  "level": 3\n}\n'


def test_exit_code_of_context_is_kept(attempt: Try) -> None:
    """A command can end with a code of its own, as `plan --exit-code` does."""
    assert attempt("work", "--for", "pending").returncode == 11


def test_failure_becomes_message_hint_and_exit_code(attempt: Try) -> None:
    """A failure's lines are kept, its control characters are escaped, and its class gives the exit code."""
    done = attempt("work", "--for", "failure")
    assert done.returncode == 9
    assert done.stderr == "error: no room\nfor \\x1b[31mthis\nhint: make room\n"


def test_failure_with_json_is_document_too(attempt: Try) -> None:
    """With `--json` an error is one document on standard output besides its text."""
    done = attempt("work", "--json", "--for", "failure")
    error = json.loads(done.stdout)["error"]
    assert error == {"message": "no room\nfor \x1b[31mthis", "hint": "make room", "exit_code": 9}
    assert done.stderr.startswith("error: no room\n")


def test_failure_after_result_adds_no_second_document(attempt: Try) -> None:
    """A command that gave its document before it failed leaves that one alone on standard output."""
    done = attempt("work", "--json", "--for", "late")
    assert json.loads(done.stdout)["a"] == "late"
    assert (done.returncode, done.stderr) == (9, "error: too late\n")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["work", "--level", "99"], "error: invalid value for '--level': 99 is not in the range 1<=x<=19\n"),
        (["work", "extra"], "error: got unexpected extra argument (extra)\nhint: see sealift-try work --help\n"),
        (["work", "--fort", "x"], "error: no such option '--fort'\nhint: did you mean --for?\n"),
        (["wrok"], "error: no such command 'wrok'\nhint: did you mean work?\n"),
    ],
)
def test_wrong_usage_reads_as_every_error_does(attempt: Try, args: list[str], told: str) -> None:
    """Wrong usage exits with 2, in this project's form."""
    done = attempt(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(told)


def test_wrong_usage_with_json_is_document(attempt: Try) -> None:
    """Even a command line that cannot be parsed answers `--json` with one document."""
    assert json.loads(attempt("work", "--json", "--level", "x").stdout)["error"]["exit_code"] == 2


def test_interrupt_exits_130(attempt: Try) -> None:
    """Ctrl-C says that nothing is half done and exits as a shell expects."""
    done = attempt("work", "--for", "interrupt")
    assert done.returncode == 130
    assert done.stderr.endswith(
        "error: interrupted\nhint: nothing was changed that a further run does not continue or undo\n"
    )


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_what_stops_a_service_is_an_interrupt(attempt: Try, name: str, code: int) -> None:
    """A service manager's SIGTERM and a lost terminal's SIGHUP undo what Ctrl-C undoes, with their own codes."""
    done = attempt("work", "--for", name)
    assert done.returncode == code
    assert f"error: stopped by {name}\nhint: nothing was changed that" in done.stderr


def test_prompt_without_input_is_wrong_usage(attempt: Try) -> None:
    """A question that nobody can answer is wrong usage, and no interrupt."""
    done = attempt("work", "--for", "ask")
    assert done.returncode == 2
    assert "error: the input ended where an answer was expected\n" in done.stderr


def test_unforeseen_failure_hides_traceback(attempt: Try) -> None:
    """A bug is one line and a hint by default."""
    done = attempt("work", "--for", "bug")
    assert done.returncode == 1
    assert done.stderr.startswith("error: unexpected failure: ValueError: odd\nhint: ")
    assert "SEALIFT_DEBUG=1" in done.stderr


def test_unforeseen_failure_shows_traceback_on_demand(attempt: Try) -> None:
    """`SEALIFT_DEBUG=1` shows where the bug is."""
    told = attempt("work", "--for", "bug", SEALIFT_DEBUG="1").stderr
    assert told.startswith("Traceback (most recent call last):\n")
    assert "error: unexpected failure: ValueError: odd\n" in told


def test_command_that_cannot_be_imported_leaves_others_usable(attempt: Try) -> None:
    """A broken command module fails that command alone."""
    assert attempt("absent").returncode == 1
    assert attempt("work").returncode == 0


@pytest.mark.parametrize("args", ["work", "work --help"])
def test_closed_pipe_is_quiet(attempt: Try, tmp_path: Path, args: str) -> None:
    """A reader that goes away, as `head` does, causes no message."""
    shell = f"(sleep 0.3; {sys.executable} {tmp_path}/program.py {args}; echo $? >&2) | true"
    done = subprocess.run(
        ["/bin/sh", "-c", shell],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "141\n"


def test_full_standard_output_is_store_failure(attempt: Try, tmp_path: Path) -> None:
    """A result that cannot be written is an error with the disk's exit code."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, str(tmp_path / "program.py"), "work"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 8
    assert done.stderr.startswith("error: standard output: no space left on device\nhint: ")


def test_completion_is_offered_by_click(attempt: Try) -> None:
    """The shell's completion knows commands and options without running anything."""
    asked = {"_SEALIFT_TRY_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    assert attempt(**asked, COMP_WORDS="sealift-try w").stdout == "plain,work\n"
    assert "plain,--level\n" in attempt(**{**asked, "COMP_CWORD": "2"}, COMP_WORDS="sealift-try work --l").stdout


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"NO_COLOR": "", "TERM": "xterm"}, True),
        ({"NO_COLOR": "1", "TERM": "xterm"}, False),
        ({"NO_COLOR": "", "TERM": "dumb"}, False),
    ],
)
def test_errors_are_coloured_on_terminal_alone(
    attempt: Try, tmp_path: Path, environment: dict[str, str], coloured: bool
) -> None:
    """Errors are coloured on a terminal, unless `NO_COLOR` or a dumb terminal forbids it."""
    told = on_terminal(
        [sys.executable, str(tmp_path / "program.py"), "work", "--for", "failure"],
        PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]),
        **environment,
    )
    assert ("\x1b[31merror:\x1b[0m no room" in told) is coloured
    assert ("\x1b[33mhint:\x1b[0m make room" in told) is coloured


def test_bar_is_silent_without_terminal(attempt: Try) -> None:
    """Progress leaves no trace in a log file, and tqdm is not even imported."""
    done = attempt("also")
    assert done.stdout == "threads 1 False\n"
    assert done.stderr == "error: stopped\n"


@pytest.mark.parametrize("quiet", [True, False])
def test_bar_draws_on_terminal_unless_quiet(attempt: Try, tmp_path: Path, quiet: bool) -> None:
    """On a terminal the bar shows the amounts, and an error starts on a line of its own."""
    told = on_terminal(
        [sys.executable, str(tmp_path / "program.py"), "also", *(["--quiet"] if quiet else [])],
        PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]),
        TERM="dumb",
    )
    assert ("1.00M/2.00M" in told) is not quiet
    assert told.endswith("\r\nerror: stopped\r\n" if not quiet else "error: stopped\r\n")


def test_bar_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing leaves the process single-threaded, since commands fork."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    before = threading.active_count()
    with cli.Bar() as bar:
        bar.start("packing", 10)
        bar.advance(5)
        assert threading.active_count() == before


def test_bar_is_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """A bar can be given to whatever wants a `Progress`."""
    progress: Progress = cli.Bar(quiet=True)
    progress.start("packing")
    progress.advance(1)
    progress.finish()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [IntegrityError("a"), TrustError("b", hint="c")])
def test_run_exits_with_code_of_error(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """`run` never returns, and works for any click command."""

    @click.command()
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        cli.run(fail, [])
    assert ended.value.code == getattr(error, "exit_code", None)
    assert capsys.readouterr().out == ""


def test_json_after_double_dash_is_argument(capsys: pytest.CaptureFixture[str]) -> None:
    """What follows `--` belongs to somebody else."""

    @click.command()
    @click.argument("rest", nargs=-1)
    def fail(rest: tuple[str, ...]) -> None:
        raise TrustError("no")

    with pytest.raises(SystemExit):
        cli.run(fail, ["--", "--json"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (92_800_000, "92.8 MB"),
        (3 * 10**12, "3.0 TB"),
        (2 * 10**18, "2000.0 PB"),
    ],
)
def test_size_is_decimal(amount: int, shown: str) -> None:
    """Sizes are in powers of a thousand, with one decimal."""
    assert cli.size(amount) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.00 s"),
        (0.421, "0.42 s"),
        (9.996, "10.0 s"),
        (59.96, "1 min 0 s"),
        (192.4, "3 min 12 s"),
        (3599.9, "1 h 0 min"),
        (7530, "2 h 5 min"),
        (108_000, "1 d 6 h"),
    ],
)
def test_duration_has_two_units_at_most(seconds: float, shown: str) -> None:
    """Times carry no more precision than a reader wants."""
    assert cli.duration(seconds) == shown


def test_count_agrees_with_noun() -> None:
    """One is singular, all else plural, with thousands set apart."""
    assert [cli.count(1, "file"), cli.count(48_703, "file"), cli.count(0, "entry", "entries")] == [
        "1 file",
        "48,703 files",
        "0 entries",
    ]


def test_table_aligns_and_makes_safe() -> None:
    """Columns line up, numbers to the right, and a foreign name cannot reach the terminal."""
    shown = cli.table([("a\x1b[2J", "5"), ("bc", "1000")], header=("name", "bytes"), right={1})
    assert shown == "name      bytes\na\\x1b[2J      5\nbc         1000"


def test_table_without_rows_is_empty() -> None:
    """Nothing to show is shown as nothing, not as a header."""
    assert cli.table([], header=("name",)) == ""


def test_there_is_at_least_one_worker() -> None:
    """The processors that this process may use, where `--threads` says nothing."""
    assert cli.workers(None) >= 1
    assert cli.workers(3) == 3
