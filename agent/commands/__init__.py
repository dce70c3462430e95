"""Commands: one verb, one file. Each has `run(options, log)`, which returns the exit status."""
