"""What faults do, by what they strike: each function injects one, waits until it is felt, heals."""
