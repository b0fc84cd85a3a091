"""A registry of vendors, and one module a vendor: signature and wire format, to events."""
