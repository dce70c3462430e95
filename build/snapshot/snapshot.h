/* What dump.c leaves to resume.c. */
#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#endif
#include <Python.h>

struct snapshot {
    PyThreadState *thread; /* NULL while the file is built */
    PyObject *start;       /* agent.start.start */
    PyObject *environ;     /* posix.environ, empty */
    void (*interrupt)(int);
    int flags;
};
extern struct snapshot snapshot;

int bootloader_main(int argc, char **argv);
void snapshot_resume(int argc, char **argv);
