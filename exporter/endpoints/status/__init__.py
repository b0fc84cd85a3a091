"""The status page: what the exporter knows, for people, on the internal listener.

Server-rendered and complete without a script. Every value that came in an event is escaped,
isolated from the direction of its surroundings, and in no way part of code or style.
"""
