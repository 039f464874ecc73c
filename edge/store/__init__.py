"""What the box remembers: the log of readings, the ledger of what happened, and the lock on both."""
