"""Value types, errors, ids, settings and network guards used by all packages."""
