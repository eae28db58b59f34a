"""Compare MongoDB with the repos, account by account, and repair differences."""
