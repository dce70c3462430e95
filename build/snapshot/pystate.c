/* CPython's Python/pystate.c without a second copy of the runtime's initial state.
 *
 * That copy, 290 KB, is for a second Py_Initialize() and for other interpreters, which the file
 * never has: here its name is a null pointer. Include/internal/pycore_runtime_init.h defines the
 * macro that is redefined; it includes itself only once.
 */
#define Py_BUILD_CORE 1
#include <Python.h>
#include "pycore_runtime_init.h"
#undef _PyRuntimeState_INIT
#define _PyRuntimeState_INIT(runtime, cookie) 0
#define initial (*no_initial_state)
#include "Python/pystate.c"
