"""The HTTP server: listeners with their limits, TLS, passwords, CSRF, the Quart application."""
