"""The YAML file of values: its commented defaults, and how it is read."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final, get_args

import yaml
from pydantic import BaseModel, ValidationError

from exporter.errors import SettingsError
from exporter.mixin.receiver_values import ReceiverKinds
from exporter.mixin.rules.rule_files import groups
from exporter.mixin.values import MixinValues
from exporter.settings.yaml_file import read_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic.fields import FieldInfo

_WIDTH: Final = 98

_FIRST: Final = "pager"
"""The receiver that shows every kind of receiver in a comment."""

_MESSAGES: Final = {
    "bool_parsing": "must be true or false",
    "dict_type": "must be a mapping of names to values",
    "float_parsing": "must be a number",
    "int_parsing": "must be a whole number",
    "tuple_type": "must be a list, such as [cluster]",
}
"""What pydantic says in more or other words, by the type of the error."""

_HEAD: Final = """\
# Values of esim-exporter mixin. Delete what you do not change: it keeps its default.
# Durations are written as in Prometheus.
"""


def read_values(path: Path) -> MixinValues:
    """Read a file of values. A key without a value keeps its default.

    Raises ``SettingsError`` with one line for each problem: file, key, what is wrong, what is
    allowed.
    """
    document = read_document(path)
    if document is None:
        return MixinValues()
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: not a mapping of keys to values, such as {{page_for: 9h}}")
    try:
        values = MixinValues.model_validate(_completed(MixinValues(), document))
    except ValidationError as error:
        lines = (_explained(detail) for detail in error.errors(include_url=False))
        raise SettingsError("\n".join(f"{path}: {line}" for line in lines)) from None
    known = {alert.name for group in groups() for alert in group.alerts}
    if unknown := sorted(values.pending.keys() - known):
        problems = (f"{path}: pending.{name}: no alert has this name" for name in unknown)
        raise SettingsError("\n".join(problems))
    return values


def _completed(default: object, given: Any) -> Any:
    """Return what is given, with the defaults of what is not.

    A receiver that is given replaces the default one as a whole.
    """
    if not isinstance(given, dict):
        return given
    known = dict(default) if isinstance(default, BaseModel) else {}
    if isinstance(default, ReceiverKinds):
        known = {}
    chosen = {name: value for name, value in given.items() if value is not None}
    return known | {name: _completed(known.get(name), value) for name, value in chosen.items()}


def _explained(detail: Any) -> str:
    """Return one line for one of pydantic's errors."""
    location = detail["loc"]
    key = ".".join(map(str, location))
    if detail["type"] == "extra_forbidden":
        known = ", ".join(_model_at(location[:-1]).model_fields)
        return f"{key}: unknown key; known here: {known}"
    if detail["type"] == "missing":
        return f"{key}: missing"
    if detail["type"] == "model_type":
        known = ", ".join(_model_at(location).model_fields)
        return f"{key}: must have keys below it; known here: {known}"
    message = str(detail.get("ctx", {}).get("error", "")) or _MESSAGES.get(detail["type"], "")
    message = message or detail["msg"].replace("Input should", "must")
    given = detail["input"]
    secret = str(location[-1]).endswith("_file") if location else False  # who knows what is in it
    shown = isinstance(given, str) and repr(given) not in message and not secret
    return (f"{key}: " if key else "") + message + (f", not {given!r}" if shown else "")


def _model_at(location: tuple[Any, ...]) -> type[BaseModel]:
    model: type[BaseModel] = MixinValues
    for name in location:
        model = _models_of(model.model_fields[name])[0]
    return model


def _models_of(field: FieldInfo) -> list[type[BaseModel]]:
    """Return the groups that a field can hold."""
    types = (field.annotation, *get_args(field.annotation))
    return [each for each in types if isinstance(each, type) and issubclass(each, BaseModel)]


def commented_defaults() -> str:
    """Return a file of values with every key, its default, and what it is."""
    return _HEAD + "".join(f"\n{_entry(*each)}\n" for each in _fields(MixinValues()))


def _fields(group: BaseModel) -> Iterator[tuple[str, FieldInfo, Any]]:
    for name, field in type(group).model_fields.items():
        yield name, field, getattr(group, name)


def _entry(name: str, field: FieldInfo, value: Any) -> str:
    comment = _comment(field, value)
    if isinstance(value, ReceiverKinds):
        kinds = [_receiver(*each) for each in _fields(value) if each[2] or name == _FIRST]
        inner = "\n".join(kinds)
    elif isinstance(value, BaseModel):
        inner = "\n".join(_entry(*each) for each in _fields(value))
    else:
        return comment + _scalar(name, value)
    return f"{comment}{name}:\n{textwrap.indent(inner, '  ')}"


def _receiver(name: str, field: FieldInfo, chosen: Any) -> str:
    """Return a kind of receiver; if it is not chosen, with examples in a comment."""
    (model,) = _models_of(field)
    examples = {
        key: (each.examples or [each.default])[0] for key, each in model.model_fields.items()
    }
    given = chosen.model_dump(exclude_defaults=True) if chosen else examples
    lines = [f"# {model.__doc__}", f"{name}:"]
    for key, each in model.model_fields.items():
        prefix = "" if key in given else "# "
        lines.append(f"  # {each.description}")
        lines.append(f"  {prefix}{_scalar(key, given.get(key, examples[key]))}")
    return "\n".join(line if chosen or line.startswith("# ") else f"# {line}" for line in lines)


def _comment(field: FieldInfo, value: Any) -> str:
    doc = type(value).__doc__ if isinstance(value, BaseModel) else None
    text = field.description or " ".join((doc or "").split())
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH - 2))


def _scalar(name: str, value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    return yaml.safe_dump({name: plain}, default_flow_style=False, width=1000).rstrip()
