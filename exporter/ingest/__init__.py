"""The way of a verified delivery: batch, merge, commit, publish, answer."""
