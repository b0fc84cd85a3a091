"""The status pages: what the exporter knows, for people, on the internal listener.

The server renders the pages. They are complete without a script. Every value from an event is
escaped, keeps its own text direction, and never becomes a part of code or style.
"""
