"""What the listeners serve: webhooks, metrics, health, lifecycle, API and status pages."""
