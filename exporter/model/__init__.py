"""Values and pure rules: events, records, consumption, merging, expiry, shards."""
