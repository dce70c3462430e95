/* Links PyInstaller's bootloader with a static libpython.
 *
 * The bootloader reaches Python only through dlopen() and dlsym(). Its sources stay as they are; they are compiled with these four names pointing here, and find every
 * function in a table that the build makes from the bootloader's own list (symbols.inc). Two more names are redirected in pyi_main.c: a bootloader that was unpacked into a
 * folder wants to execute itself once more so that the dynamic linker sees LD_LIBRARY_PATH. There is no dynamic linker, so the second pass runs right here.
 */
#include <Python.h>
#include <marshal.h>
#include <stdlib.h>
#include <string.h>

#include "pyi_main.h"

static PyStatus initialize(const PyConfig *given);
static int leave_as_it_is(void) { return 0; }

static const struct { const char *name; void *address; } symbols[] = {
    /* First come, first served: these two stand before the real ones. */
    { "Py_InitializeFromConfig", (void *)initialize },
    { "Py_Finalize", (void *)leave_as_it_is },  /* the process ends right behind it; the bootloader has flushed the streams */
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
