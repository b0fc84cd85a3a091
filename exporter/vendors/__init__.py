"""A registry of vendors, and one module for each: its signature and its wire format."""
