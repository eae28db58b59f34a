"""What our clients rely on, checked against the real other side."""
