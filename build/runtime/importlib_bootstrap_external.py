"""Replaces importlib._bootstrap_external inside the static file.

Provides what importlib._bootstrap and Python/import.c ask for, and no import from a disk.
"""


class NamespaceLoader:
    """What isinstance() asks for when a module is shown; no module has one here."""


def _set_bootstrap_module(bootstrap):
    pass


def _install(bootstrap):
    """Do nothing, where the standard module adds its finder for sys.path to sys.meta_path."""


def _fix_up_module(namespace, name, path, cached_path=None):
    """Do nothing after PyImport_ExecCodeModule(), by which the bootloader runs boot.py."""
