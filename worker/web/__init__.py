"""The status page: counts, failures and single items in a browser, and metrics for Prometheus."""
