"""What an operator starts: one package or module for each, with its queries."""
