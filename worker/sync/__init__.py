"""The engine: one item, a batch, fairness, the sweep and retries."""
