"""``storage copy``: copies a fleet to another storage and proves that both are the same."""
