/* Links PyInstaller's bootloader with a static libpython.
 *
 * The bootloader calls Python only through dlopen() and dlsym(). Its unchanged sources are compiled
 * with these names redirected to this file, and find every function in a table that the build makes
 * from the bootloader's own list (symbols.inc). Two more names are redirected in pyi_main.c: in the
 * folder mode, the bootloader executes itself again so that the dynamic linker sees
 * LD_LIBRARY_PATH. There is no dynamic linker, so the second pass runs in this process.
 */
#include <Python.h>
#include <marshal.h>
#include <stdlib.h>
#include <string.h>

#include "pyi_main.h"

static PyStatus initialize(const PyConfig *given);
#ifdef AZREADY_SNAPSHOT
extern int snapshot_dump(void); /* build/snapshot/dump.c */
#define AZREADY_END snapshot_dump
#else
static int leave_as_it_is(void) { return 0; }
#define AZREADY_END leave_as_it_is
#endif

static const struct { const char *name; void *address; } symbols[] = {
    /* The first match wins: these two come before the real ones. */
    { "Py_InitializeFromConfig", (void *)initialize },
    /* The process ends right after it, and the bootloader has flushed the streams. */
    { "Py_Finalize", (void *)AZREADY_END },
#define SYMBOL(name) { #name, (void *)name },
#include "symbols.inc"
};

void *azready_dlopen(const char *file, int flags)
{
    (void)file, (void)flags;
    return (void *)symbols;
}

void *azready_dlsym(void *handle, const char *name)
{
    size_t at;
    for (at = 0; handle == (void *)symbols && at < sizeof symbols / sizeof *symbols; at++)
        if (strcmp(symbols[at].name, name) == 0)
            return symbols[at].address;
    return NULL;
}

int azready_dlclose(void *handle) { (void)handle; return 0; }
char *azready_dlerror(void) { return "linked statically"; }

static PyStatus initialize(const PyConfig *given)
{
    PyConfig *config = (PyConfig *)given;
    config->code_debug_ranges = 0;
    config->optimization_level = 2;
#ifdef AZREADY_SNAPSHOT
    config->use_hash_seed = 1; /* objects keep the hashes of their names, see build/README.md */
    config->hash_seed = 1;
#endif
    return Py_InitializeFromConfig(config);
}

int azready_execvp(const char *file, char *const arguments[])
{
    int count = global_pyi_ctx->argc;
    (void)file;
    memset(global_pyi_ctx, 0, sizeof *global_pyi_ctx);
    global_pyi_ctx->argc = count;
    global_pyi_ctx->argv = (char **)arguments;
    exit(pyi_main(global_pyi_ctx));
}

int azready_set_library_search_path(const char *path) { (void)path; return 0; }

#ifdef AZREADY_SNAPSHOT
/* What the bootloader finds out about itself must not depend on the machine that builds. */
char *azready_realpath(const char *path, char *resolved)
{
    (void)path;
    return strcpy(resolved, "/proc/self/exe");
}

int azready_prctl(int what, ...) { (void)what; return -1; }
#endif
