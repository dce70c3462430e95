"""Bytes to values and back. Pure: no socket, no file, no clock; imports nothing of ours but `agent.errors`."""
