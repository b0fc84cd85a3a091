"""Configuration of Alertmanager: routes, receivers and inhibition."""
