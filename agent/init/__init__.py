"""One small module per init system: its unit text, where it goes, how it is enabled and disabled."""
