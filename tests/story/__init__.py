"""The tutorial: what a user of the project sees, in the order in which they would meet it."""
