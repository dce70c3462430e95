"""Talks to the platform: HTTP, retries, the wireserver, IMDS."""
