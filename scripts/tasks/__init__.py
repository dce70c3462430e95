"""The jobs behind the scripts that need the tools of build/toolchain.toml."""
