"""Replaces importlib._bootstrap inside the static file.

Provides what Python/import.c asks for, for built-in and frozen modules. Each is found by one call
of _imp. The agent has one thread, so no module needs a lock. Finders in sys.meta_path are asked
only for other modules.
"""

BuiltinImporter = None  # pylifecycle.c makes this the __loader__ of __main__


class ModuleSpec:
    """Where a module comes from.

    Has the attributes that _imp, Objects/moduleobject.c and relative imports read.
    """

    _initializing = has_location = False
    cached = loader_state = submodule_search_locations = None

    def __init__(self, name, loader, *, origin=None, loader_state=None, is_package=None):
        self.name = name
        self.loader = loader
        self.origin = origin
        self.parent = name if is_package else name.rpartition(".")[0]
        if is_package:
            self.submodule_search_locations = []


def _spec_from_module(module, loader=None, origin=None):
    return ModuleSpec(
        module.__name__, loader, origin=origin, is_package=hasattr(module, "__path__")
    )


def _find_and_load(name, import_):
    """Import a module; import.c calls this for a name that is not in sys.modules.

    Raises ModuleNotFoundError.
    """
    parent, _, child = name.rpartition(".")
    if parent and parent not in sys.modules:
        import_(parent)
        if name in sys.modules:
            return sys.modules[name]
    if _imp.is_builtin(name):
        spec = ModuleSpec(name, None, origin="built-in")
        module = _imp.create_builtin(spec)
        module.__spec__ = spec
        module.__package__ = spec.parent
        run = _imp.exec_builtin
        arguments = (module,)
    elif found := _imp.find_frozen(name):
        spec = ModuleSpec(name, None, origin="frozen", is_package=found[1])
        module = type(sys)(name)
        module.__spec__ = spec
        module.__package__ = spec.parent
        if found[1]:
            module.__path__ = []
        run = exec
        arguments = (_imp.get_frozen_object(name), module.__dict__)
    else:
        return _find_and_load_otherwise(name, parent, child)
    sys.modules[name] = module
    try:
        run(*arguments)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    module = sys.modules[name]
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def _find_and_load_otherwise(name, parent, child):
    path = sys.modules[parent].__path__ if parent else None
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path)
        if spec is not None:
            break
    else:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = spec.loader.create_module(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def _handle_fromlist(module, names, import_):
    """Import modules that `from package import names` names; import.c calls this after the import.

    A name that the package lacks is looked up as a module of the package.
    """
    for name in names:
        if name != "*" and not hasattr(module, name):
            try:
                import_(f"{module.__name__}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{module.__name__}.{name}":
                    raise
    return module


def _lock_unlock_module(name):
    """Wait for another thread's import. There is only one thread."""


def _module_repr(module):
    return f"<module {module.__name__!r}>"


def _install(sys_module, imp_module):
    global sys, _imp
    sys, _imp = sys_module, imp_module


def _install_external_importers():
    import _frozen_importlib_external

    globals().update(_bootstrap_external=_frozen_importlib_external)
