"""Talks to the platform: wireserver, IMDS, and what the machine itself says about being on Azure. Never imports `agent.guest`."""
