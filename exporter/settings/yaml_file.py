"""Reads YAML files: settings and web configurations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from exporter.errors import SettingsError
from exporter.settings.small_files import read_small_file

if TYPE_CHECKING:
    from pathlib import Path


class _Loader(yaml.SafeLoader):
    """Reads every scalar as text, except null, and refuses a key that is given twice."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # the name and type that PyYAML expects

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  # the library's signature
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)


def read_document(path: Path) -> object:
    """Read a YAML file, every scalar but null as text. Raises ``SettingsError``."""
    try:
        return yaml.load(read_small_file(path), _Loader)  # noqa: S506  # derived from the safe loader
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except RecursionError:
        raise SettingsError(f"{path}: not valid YAML: too many brackets in one another") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise SettingsError(f"{path}{place}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError:
        raise SettingsError(f"{path}: not valid YAML: not text in UTF-8") from None
