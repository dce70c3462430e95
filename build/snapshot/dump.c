/* Writes the snapshot, while the file is built (see build/README.md).
 *
 * PyInstaller's bootloader has started the interpreter, and run boot.py and bake.py. Where it would
 * finalize the interpreter, CPython's variables and the heap are written to a file instead. No
 * Python code is running then, so nothing points into the stack of C. image.py makes the static
 * file of it. All that is written must be the same on every machine: the surroundings are fixed by
 * image.py, and what is left of the process is removed here.
 */
#include "snapshot.h"

#include "pycore_code.h"
#include "pycore_freelist.h"
#include "pycore_gc.h"
#include "pycore_interp.h"
#include "pycore_object.h"
#include "pycore_pystate.h"
#include "pycore_runtime.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "heap.h"

enum { CODE_LIMIT = 8 << 20 };

extern char azready_data_begin[], azready_data_end[], azready_bss_begin[], azready_bss_end[];
extern int _Py_open_cloexec_works;
extern char **environ;
void frozen_attach(const unsigned char *code);

struct snapshot snapshot;
static int memory; /* descriptor that the snapshot is written to */

static void fail(const char *what)
{
    dprintf(2, "snapshot: %s\n", what);
    if (PyErr_Occurred())
        PyErr_Print();
    _exit(1);
}

static void immortalize(PyObject *object);

static int visit(PyObject *object, void *unused)
{
    (void)unused;
    if (object != NULL)
        immortalize(object);
    return 0;
}

static void visit_code(PyCodeObject *code)
{
    PyObject *parts[] = {
        code->co_consts, code->co_names, code->co_exceptiontable, code->co_localsplusnames,
        code->co_localspluskinds, code->co_filename, code->co_name, code->co_qualname,
        code->co_linetable,
    };
    size_t at;
    for (at = 0; at < sizeof parts / sizeof *parts; at++)
        visit(parts[at], NULL);
}

/* Counting references writes to an object, and the page it is in is copied then. What is in the
 * snapshot lives as long as the process, so nothing needs to be counted (PEP 683). */
static void immortalize(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (_Py_IsImmortal(object))
        return;
    object->ob_refcnt = _Py_IMMORTAL_REFCNT;
    if (PyCode_Check(object))
        visit_code((PyCodeObject *)object);
    /* The garbage collector has stopped to track these, or never did: nothing else leads here. */
    if (type->tp_traverse != NULL && (!PyObject_IS_GC(object) || PyTuple_Check(object)
                                      || PyDict_Check(object) || PyFrozenSet_CheckExact(object)))
        type->tp_traverse(object, visit, NULL);
}

static void immortalize_all(PyInterpreterState *interpreter)
{
    PyGC_Head *list = &interpreter->gc.permanent_generation.head, *at;
    for (at = _PyGCHead_NEXT(list); at != list; at = _PyGCHead_NEXT(at)) {
        PyObject *object = _Py_FROM_GC(at);
        immortalize(object);
        Py_TYPE(object)->tp_traverse(object, visit, NULL);
    }
}

static PyObject *attribute(const char *module, const char *name)
{
    PyObject *from = PyImport_ImportModule(module), *found = NULL;
    if (from != NULL)
        found = PyObject_GetAttrString(from, name);
    if (found == NULL)
        fail(name);
    Py_DECREF(from);
    return found;
}

static void put(const void *from, size_t size)
{
    uint64_t head[2] = { (uint64_t)(uintptr_t)from, size };
    const char *at = from;
    ssize_t wrote = write(memory, head, sizeof head);

    for (; wrote > 0 && size > 0; at += wrote, size -= (size_t)wrote)
        wrote = write(memory, at, size);
    if (wrote <= 0)
        fail("cannot write it");
}

/* Forgets what belongs to this process and can be forgotten; resume.c sets the rest anew. */
static void forget_process(PyThreadState *thread)
{
    struct sigaction action;

    PyDict_Clear(snapshot.environ);
    PySys_SetObject("argv", Py_None);
    PySys_SetObject("orig_argv", Py_None);
    PySys_SetObject("executable", Py_None);
    clearenv();
    sigaction(SIGINT, NULL, &action);
    snapshot.interrupt = action.sa_handler;
    snapshot.flags = action.sa_flags;
    thread->thread_id = thread->native_thread_id = _PyRuntime.main_thread = 0;
    _PyRuntime.faulthandler.stack.ss_size = 1 << 16; /* depends on the processor */
    _Py_open_cloexec_works = -1;                     /* depends on the kernel */
}

/* Takes the place of Py_Finalize() in the bootloader (build/pyinstaller/loader.c). */
int snapshot_dump(void)
{
    PyThreadState *thread = _PyThreadState_GET();
    char *frames = (char *)thread->datastack_top;
    struct heap_range heap;

    if (PySys_GetObject("baked") == NULL) /* bake.py did not reach its end, and said why */
        _exit(1);
    PySys_SetObject("baked", NULL);
    snapshot.start = attribute("agent.start", "start");
    snapshot.environ = attribute("posix", "environ");
    forget_process(thread);
    PyGC_Collect();
    PyGC_Collect();
    _PyObject_ClearFreeLists(_Py_object_freelists_GET(), 0);
    _PyGC_Freeze(thread->interp);
    immortalize_all(thread->interp);
    if (frames != NULL)
        memset(frames, 0, (size_t)((char *)thread->datastack_limit - frames));
    snapshot.thread = thread;
    heap = heap_seal();
    put(azready_data_begin, (size_t)(azready_data_end - azready_data_begin));
    put(&_PyRuntime, sizeof _PyRuntime);
    put(azready_bss_begin, (size_t)(azready_bss_end - azready_bss_begin));
    put(heap.begin, (size_t)(heap.end - heap.begin));
    put(heap.limit, 0);
    _exit(0);
}

int main(int argc, char **argv)
{
    static char *no_variables[] = { NULL };
    unsigned char *code;
    int nothing, number;

    if (snapshot.thread != NULL)
        snapshot_resume(argc, argv);
    /* make.py: standard input is the code of what the snapshot holds, its output is the snapshot */
    code = mmap(NULL, CODE_LIMIT, PROT_READ, MAP_PRIVATE, 0, 0);
    memory = fcntl(1, F_DUPFD_CLOEXEC, 10);
    nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (code == MAP_FAILED || memory < 0 || dup2(nothing, 0) < 0 || dup2(nothing, 1) < 0)
        fail("this file only makes another one");
    close(nothing);
    frozen_attach(code);
    environ = no_variables;
    for (number = 1; number < NSIG; number++) /* which are ignored, the started file finds out */
        signal(number, SIG_DFL);
    return bootloader_main(argc, argv);
}
