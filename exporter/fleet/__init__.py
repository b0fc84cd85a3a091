"""The state of the fleet in memory: all eSIMs, and the sums over them."""
