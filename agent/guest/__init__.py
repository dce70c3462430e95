"""Changes this machine. Every function takes the root it works under. Never imports `agent.azure`."""
