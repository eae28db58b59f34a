"""Access to PDSes over AT Protocol: client, sessions, identity, rate limits and repos."""
