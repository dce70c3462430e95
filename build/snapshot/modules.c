/* The built-in modules of the static file: takes precedence over Modules/config.c.
 *
 * Those that the agent imports, and those that the standard library's modules import that it
 * imports (build/allowed-modules).
 */
#include <Python.h>

#define MODULES(M) \
    M(_abc) M(_codecs) M(_collections) M(_datetime) M(_functools) M(_io) M(_json) M(_locale) \
    M(_operator) M(_sha2) M(_signal) M(_socket) M(_sre) M(_stat) M(_thread) M(_weakref) \
    M(binascii) M(errno) M(faulthandler) M(fcntl) M(itertools) M(posix) M(pwd) M(pyexpat) \
    M(select) M(time)

#define DECLARE(name) extern PyObject *PyInit_##name(void);
MODULES(DECLARE)
extern PyObject *PyMarshal_Init(void), *PyInit__imp(void), *PyInit_gc(void);
extern PyObject *_PyWarnings_Init(void), *PyInit__string(void);

#define ROW(name) { #name, PyInit_##name },
struct _inittab _PyImport_Inittab[] = {
    MODULES(ROW)
    { "marshal", PyMarshal_Init },
    { "_imp", PyInit__imp },
    { "builtins", NULL },
    { "sys", NULL },
    { "gc", PyInit_gc },
    { "_warnings", _PyWarnings_Init },
    { "_string", PyInit__string },
    { NULL, NULL },
};
