"""From a verified delivery to durable, visible state: batch, merge, commit, publish, answer."""
