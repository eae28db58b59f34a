"""The engine: how a MongoDB document becomes an AT Protocol record, and stays in step with it."""
