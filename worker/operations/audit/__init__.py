"""The audit: MongoDB beside the repos themselves, account by account; what differs, put right."""
