"""Takes the place of importlib._bootstrap_external inside the static file: what importlib._bootstrap and Python/import.c ask for, and nothing that
imports from a disk."""


class NamespaceLoader:
    """Asked for by isinstance() when a module is shown; no module has one here."""


def _set_bootstrap_module(bootstrap):
    pass


def _install(bootstrap):
    """Called where the standard module adds its finder for sys.path to sys.meta_path."""


def _fix_up_module(namespace, name, path, cached_path=None):
    """Called behind PyImport_ExecCodeModule(), by which PyInstaller's bootloader runs boot.py."""
