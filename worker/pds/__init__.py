"""The AT Protocol side: client, sessions, identity, rate limits and repos."""
