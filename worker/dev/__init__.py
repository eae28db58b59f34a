"""Tools for development: the embedded services and the demo."""
