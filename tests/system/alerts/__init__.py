"""The alert rules, tried out by Prometheus itself."""
