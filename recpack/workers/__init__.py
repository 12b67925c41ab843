"""Who works: processes, threads, clusters."""
