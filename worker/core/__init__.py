"""Values, errors, ids, settings and network guards, without other I/O."""
