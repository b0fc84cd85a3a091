"""Settings from flags, environment, YAML file and defaults."""
