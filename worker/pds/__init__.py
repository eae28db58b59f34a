"""Access to PDSes: client, sessions, identity, rate limits and repos."""
