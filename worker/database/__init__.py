"""The MongoDB side: documents, their state, leases, accounts, backlog, indexes."""
