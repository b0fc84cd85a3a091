"""Read-only questions that people ask about the fleet."""
