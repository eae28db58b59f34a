"""The status page for browsers, and the platform's metrics for Prometheus."""
