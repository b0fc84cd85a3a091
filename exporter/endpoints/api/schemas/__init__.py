"""What the answers of the API hold, by subject.

The types give the JSON of an answer. With their docstrings they also give its JSON Schema in the
OpenAPI document. Amounts are integers in base units (bytes, messages, seconds), times are unix
seconds in UTC.
"""

from __future__ import annotations

from pydantic import ConfigDict

DOCUMENTED = ConfigDict(use_attribute_docstrings=True, extra="forbid")
"""Configuration of every type here: its docstrings become descriptions in the schema."""
