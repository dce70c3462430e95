/* Starts the static file: gives the interpreter of the snapshot what belongs to this process.
 *
 * The C library has started as ever; none of its variables are in the snapshot. The rest is what
 * PyOS_AfterFork_Child(), Python/pylifecycle.c and Modules/signalmodule.c do with a process.
 */
#include "snapshot.h"

#include "pycore_pystate.h"
#include "pycore_runtime.h"
#include "pycore_signal.h"

#include <locale.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "heap.h"

extern char **environ;

static void end(const char *why)
{
    static const char start[] = "azready: error: cannot start: ";
    if (write(2, start, sizeof start - 1) < 0 || write(2, why, strlen(why)) < 0) {}
    _exit(1);
}

static void *need(void *made)
{
    if (made == NULL)
        end("out of memory\n");
    return made;
}

static void take_thread(PyThreadState *thread)
{
    _Py_tss_tstate = thread;
    _PyRuntime.autoTSSkey = (Py_tss_t)Py_tss_NEEDS_INIT;
    _PyRuntime.trashTSSkey = (Py_tss_t)Py_tss_NEEDS_INIT;
    if (PyThread_tss_create(&_PyRuntime.autoTSSkey) || PyThread_tss_create(&_PyRuntime.trashTSSkey)
        || PyThread_tss_set(&_PyRuntime.autoTSSkey, thread))
        end("no thread-specific data\n");
    _PyRuntime.main_thread = thread->thread_id = PyThread_get_thread_ident();
    thread->native_thread_id = PyThread_get_thread_native_id();
}

/* What the caller ignores stays ignored, and Python knows it: see agent/signals.py. */
static void take_signals(void)
{
    static const int asked[] = { SIGHUP, SIGINT, SIGTERM };
    struct sigaction action = { .sa_handler = SIG_IGN }, old;
    size_t at;

    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
    action.sa_handler = snapshot.interrupt;
    action.sa_flags = snapshot.flags;
    for (at = 0; at < sizeof asked / sizeof *asked; at++) {
        if (sigaction(asked[at], NULL, &old) != 0)
            continue;
        if (old.sa_handler == SIG_IGN)
            _PyRuntime.signals.handlers[asked[at]].func = _PyRuntime.signals.ignore_handler;
        else if (asked[at] == SIGINT)
            sigaction(SIGINT, &action, NULL);
    }
}

static void take_environment(void)
{
    char **at;
    for (at = environ; at != NULL && *at != NULL; at++) {
        const char *equals = strchr(*at, '=');
        PyObject *name, *value;
        if (equals == NULL)
            continue;
        name = need(PyBytes_FromStringAndSize(*at, equals - *at));
        value = need(PyBytes_FromString(equals + 1));
        need(PyDict_SetDefault(snapshot.environ, name, value)); /* of two, the first */
        Py_DECREF(name);
        Py_DECREF(value);
    }
}

static void set(const char *name, PyObject *value)
{
    if (PySys_SetObject(name, need(value)) != 0)
        end("out of memory\n");
}

/* Returns the words behind the name of the program. */
static PyObject *take_arguments(int count, char **words)
{
    PyObject *all = need(PyList_New(count)), *rest;
    const char *executable = (const char *)getauxval(AT_EXECFN); /* needs no /proc */
    int at;

    for (at = 0; at < count; at++)
        PyList_SET_ITEM(all, at, need(PyUnicode_DecodeFSDefault(words[at])));
    rest = need(PyList_GetSlice(all, 1, count));
    set("argv", all);
    set("orig_argv", all);
    set("executable", PyUnicode_DecodeFSDefault(executable != NULL ? executable : ""));
    return rest;
}

/* Strings keep the hashes they have in the file, so their key is in the file, too. The tables of
 * expat, made of what comes from outside, get a key of this process: pyexpat.c calls this instead of
 * XML_SetHashSalt16Bytes(). The C library has taken the other half of AT_RANDOM. */
unsigned char XML_SetHashSalt16Bytes(void *parser, const uint8_t salt[16]);
unsigned char azready_set_hash_salt(void *parser, const uint8_t salt[16])
{
    uint8_t own[16];
    const uint8_t *random = (const uint8_t *)getauxval(AT_RANDOM);

    memcpy(own, salt, sizeof own);
    if (heap_is_sealed() && random != NULL)
        memcpy(own + 8, random + 8, 8);
    return XML_SetHashSalt16Bytes(parser, own);
}

void snapshot_resume(int argc, char **argv)
{
    take_thread(snapshot.thread);
    take_signals();
    setlocale(LC_CTYPE, "C.UTF-8");
    take_environment();
    /* start() ends the process. */
    if (PyObject_CallOneArg(snapshot.start, take_arguments(argc, argv)) == NULL)
        PyErr_Print();
    _exit(1);
}
