"""Workers: processes, threads, clusters."""
