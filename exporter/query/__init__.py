"""Read-only questions of people about the fleet, for the API and the status page."""
