"""The options of a settings model: one for each field of a group, its names, and its help.

A field ``listen_address`` of a group ``web`` is the flag ``--web.listen-address``, the
environment variable ``ESIM_EXPORTER_WEB_LISTEN_ADDRESS`` and the key ``listen-address`` under
``web`` in the YAML file.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, SecretStr

from exporter.settings import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_HELP_WIDTH = 100
_HELP_INDENT = 34


class SettingsGroup(BaseModel):
    """A group of settings. Its docstring is its title on the help page."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Mark(Enum):
    """A property of a field that its type does not tell."""

    RELOADABLE = auto()
    """A reload applies it. All other fields need a restart."""
    CONFIDENTIAL = auto()
    """No message repeats its value. Fields of ``SecretStr`` need no mark."""
    NOT_IN_FILE = auto()
    ENVIRONMENT_ONLY = auto()


@dataclass(frozen=True, slots=True)
class Kind:
    """Names the kind of value for users, where the type of a field does not."""

    name: str


@dataclass(frozen=True, slots=True)
class CustomKey:
    """Gives a field a key that differs from its name: some of Prometheus' flags have dots."""

    name: str
    alone: bool = False
    """Whether the key stands alone, without the name of the group."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting."""

    path: tuple[str, str]
    """Attributes from the settings model to the value: the group and the field."""
    key: str
    """Path in the YAML file, with dots."""
    kind: str
    default: str
    """As a user would write it; empty for none."""
    help: str
    switch: bool
    """It is on or off. As a flag it takes no value."""
    many: bool
    """It holds several values: separated by commas, or a list in the file."""
    confidential: bool
    """Its value may hold a password and is never shown."""
    reloadable: bool
    in_file: bool
    """The YAML file may hold it."""
    as_flag: bool
    """The command line may hold it. The environment may hold every option."""

    @property
    def flag(self) -> str:
        """Flag of the command line."""
        return f"--{self.key}"

    @property
    def variable(self) -> str:
        """Environment variable."""
        words = self.path if "." in self.key else (self.key.replace("-", "_"),)
        return ENVIRONMENT_PREFIX + "_".join(words).upper()

    @property
    def description(self) -> str:
        """What it does, and whether a reload applies it."""
        return f"{self.help} Applied on reload." if self.reloadable else self.help

    def value(self, settings: BaseModel) -> object:
        """Return what ``settings`` holds for this option."""
        group, field = self.path
        return getattr(getattr(settings, group), field)


def options_of(model: type[BaseModel]) -> tuple[Option, ...]:
    """Return the options of ``model``, whose fields are groups, in the order of definition."""
    return tuple(
        _option((group, name), field)
        for group, holder in model.model_fields.items()
        for name, field in _group(holder).model_fields.items()
    )


def help_text(model: type[BaseModel], prog: str) -> str:
    """Return the page that ``--help`` prints, in the style of Prometheus' own exporters."""
    options = options_of(model)
    parts = [
        f"usage: {prog} [<flags>]",
        _wrapped(model.__doc__ or ""),
        "Flags:\n"
        + _entry("-h, --help", "Show this help and exit.")
        + _entry("--version", "Show the version and exit."),
    ]
    for group, holder in model.model_fields.items():
        title = (_group(holder).__doc__ or "").rstrip(".") + ":"
        entries = (_entry(_heading(o), _explained(o)) for o in options if o.path[0] == group)
        parts.append(f"{title}\n" + "".join(entries))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def as_users_write(value: Any) -> str:
    """Return a value that is neither secret nor a duration as a user would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _group(holder: FieldInfo) -> type[BaseModel]:
    group = holder.annotation
    assert isinstance(group, type)
    assert issubclass(group, BaseModel), "the fields of a settings model are groups"
    return group


def _option(path: tuple[str, str], field: FieldInfo) -> Option:
    marks = {each for each in field.metadata if isinstance(each, Mark)}
    return Option(
        path=path,
        key=_key(path, field),
        kind=_kind(field),
        default=_default(field),
        help=field.description or "",
        switch=field.annotation is bool,
        many=get_origin(field.annotation) is tuple,
        confidential=field.annotation is SecretStr or Mark.CONFIDENTIAL in marks,
        reloadable=Mark.RELOADABLE in marks,
        in_file=not marks & {Mark.NOT_IN_FILE, Mark.ENVIRONMENT_ONLY},
        as_flag=Mark.ENVIRONMENT_ONLY not in marks,
    )


def _key(path: tuple[str, str], field: FieldInfo) -> str:
    group, name = path
    key = next(
        (m for m in field.metadata if isinstance(m, CustomKey)), CustomKey(name.replace("_", "-"))
    )
    return key.name if key.alone else f"{group.replace('_', '-')}.{key.name}"


def _kind(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(field.annotation)))
    named = (marker.name for marker in field.metadata if isinstance(marker, Kind))
    return next(named, getattr(field.annotation, "__name__", ""))


def _default(field: FieldInfo) -> str:
    """Return the default as a user would write it. Secrets and computed defaults show none."""
    value = "" if field.default_factory else field.default
    return "" if isinstance(value, SecretStr) else as_users_write(value)


def _heading(option: Option) -> str:
    if not option.as_flag:
        return f"${option.variable}"
    if option.switch:
        return f"--[no-]{option.key}"
    return f"{option.flag}={option.default or option.kind.upper()}"


def _explained(option: Option) -> str:
    notes = [] if option.switch else [option.kind]
    if option.as_flag:
        notes.append(f"${option.variable}")
    return f"{option.description} ({'; '.join(notes)})"


def _entry(heading: str, text: str) -> str:
    """Return one option: the text beside the heading, or below a heading that is too long."""
    lines = _wrapped(text, indent=_HELP_INDENT)
    start = f"  {heading}"
    if len(start) + 2 <= _HELP_INDENT:
        return start + lines[len(start) :] + "\n"
    return f"{start}\n{lines}\n"


def _wrapped(text: str, indent: int = 0) -> str:
    paragraphs = textwrap.dedent(text).strip().split("\n\n")
    margin = " " * indent
    return "\n\n".join(
        textwrap.fill(
            " ".join(paragraph.split()),
            width=_HELP_WIDTH,
            initial_indent=margin,
            subsequent_indent=margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for paragraph in paragraphs
    )
