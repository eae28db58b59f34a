"""Values, errors, ids, settings and network guards: no I/O but the transports of the guards."""
