"""Copy a fleet from one storage to another and prove that both are the same."""
