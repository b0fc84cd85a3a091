"""The state of all eSIMs in memory."""
