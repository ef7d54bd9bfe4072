"""Templates: files of a release in which values are filled, by a sandboxed Jinja of which little is left.

    ${{ expression }}     a value
    ${% statement %}      if, for, set, macro; a line of its own leaves no line behind
    ${{# remark #}}       nothing

A template reads neither files nor other templates, reaches no attribute that begins with `_`, changes nothing that
it is given, and says the same for the same values. Time and memory are its caller's to bound.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .errors import SealiftError, UsageError

if TYPE_CHECKING:
    from jinja2 import Environment, Template

TEMPLATE_MAX = 1 << 20
"""Bytes of a template."""
FILLED_MAX = 4 << 20
"""Bytes of a filled file."""
RESERVED = ("sealift", "secrets")
"""Names that a template has beside the values: what is deployed where, and the secrets of the environment."""


class UnfitError(SealiftError):
    """A template cannot be filled."""

    exit_code = 2

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        """Where in the template, from 1."""

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.line, self.message)


def language() -> Environment:
    """What reads templates.

    Raises:
        UsageError: the extra that it comes with is not installed.
    """
    try:
        from jinja2 import StrictUndefined, pass_context
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise UsageError(
            "templates are filled by jinja2, which is not installed here",
            hint="install sealift with its extra: sealift[values]",
        ) from error
    jinja = ImmutableSandboxedEnvironment(
        block_start_string="${%",
        block_end_string="%}",
        variable_start_string="${{",
        variable_end_string="}}",
        comment_start_string="${{#",
        comment_end_string="#}}",
        undefined=StrictUndefined,
        autoescape=False,
        optimized=False,
        finalize=pass_context(_as_it_is),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        cache_size=0,
    )
    for name in ("lipsum", "cycler", "joiner"):
        del jinja.globals[name]
    del jinja.filters["random"]
    jinja.filters["tojson"] = _json
    jinja.filters["b64encode"] = _base64
    return jinja


def check_syntax(text: str) -> None:
    """Refuse a template that cannot be read.

    Raises:
        UnfitError: at which line, and why.
        UsageError: the extra is not installed.
    """
    _compiled(language(), text)


def fill(text: str, values: Mapping[str, Any]) -> bytes:
    """Fill `values` into a template.

    Raises:
        UnfitError: at which line, and why: an undefined name, a wrong type, or more than `FILLED_MAX` bytes.
        UsageError: the extra is not installed.
    """
    return b"".join(_filled(_compiled(language(), text), values))


def _compiled(jinja: Environment, text: str) -> Template:
    from jinja2 import TemplateSyntaxError

    try:
        return jinja.template_class.from_code(jinja, jinja.compile(text, filename=_NAME), jinja.make_globals(None))
    except TemplateSyntaxError as error:
        raise UnfitError(error.lineno, _lower(error.message or "it cannot be read")) from None
    except (RecursionError, MemoryError, SyntaxError, OverflowError, ValueError) as error:
        raise UnfitError(1, f"it cannot be read: {type(error).__name__}") from None


def _filled(template: Template, values: Mapping[str, Any]) -> Iterator[bytes]:
    from jinja2 import TemplateError

    size = 0
    try:
        for piece in template.generate(dict(values)):
            content = piece.encode()
            size += len(content)
            if size > FILLED_MAX:
                raise UnfitError(1, f"it makes more than {FILLED_MAX} bytes")
            yield content
    except UnfitError:
        raise
    except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnfitError(_line(error), _lower(str(error) or type(error).__name__)) from None
    except (RecursionError, MemoryError) as error:
        raise UnfitError(_line(error), f"it needs too much memory or depth: {type(error).__name__}") from None


_NAME = "<the template>"


def _line(error: BaseException) -> int:
    """The line of the template that an error comes from: the innermost one on its way."""
    line, step = 1, error.__traceback__
    while step:
        if step.tb_frame.f_code.co_filename == _NAME:
            line = step.tb_lineno
        step = step.tb_next
    return line


def _lower(message: str) -> str:
    message = message.rstrip(".")
    return message[:1].lower() + message[1:] if message[:2].istitle() or message[1:2].islower() else message


def _as_it_is(_: object, value: Any) -> Any:
    """`value`: that it might depend on its context keeps Jinja from working constants out while it only reads."""
    return value


def _json(value: Any, indent: int | None = None) -> str:
    """`value` as JSON, which YAML reads too."""
    return json.dumps(_defined(value), ensure_ascii=False, allow_nan=False, indent=indent)


def _base64(value: Any) -> str:
    """A string in base64, as a Secret of Kubernetes has it."""
    return base64.b64encode(str(_defined(value)).encode()).decode()


def _defined(value: Any) -> Any:
    """`value`, or the error that an undefined one raises once it is looked at."""
    refuse: Callable[[], Any] | None = getattr(value, "_fail_with_undefined_error", None)
    return refuse() if refuse else value
