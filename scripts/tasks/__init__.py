"""What the commands in scripts/ run with the tools of build/toolchain.toml."""
