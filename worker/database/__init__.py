"""Access to MongoDB: documents, their state, leases, accounts and indexes."""
