"""Speed, memory and scale, measured side by side with what a user could pick instead.

``python -m benchmarks --help`` explains the command, :mod:`benchmarks.run` lists the figures.
Nothing here is a test: no figure makes the command fail.
"""

from __future__ import annotations
