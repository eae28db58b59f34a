"""The MongoDB side: documents and their state, leases, accounts, the backlog and indexes."""
