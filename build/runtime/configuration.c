/* Takes precedence over Modules/getpath.c, which is then not linked in. That one runs a sizeable
 * program to find a standard library on the disk; the file brings its own.
 */
#include <Python.h>

PyStatus _PyConfig_InitPathConfig(PyConfig *config, int compute)
{
    wchar_t **paths[] = {
        &config->executable, &config->base_executable, &config->prefix,
        &config->base_prefix, &config->exec_prefix, &config->base_exec_prefix,
    };
    size_t at;
    PyStatus status = PyStatus_Ok();

    for (at = 0; compute && at < sizeof paths / sizeof *paths && !PyStatus_Exception(status); at++)
        status = PyConfig_SetString(config, paths[at], at < 2 ? config->program_name : L"/");
    config->module_search_paths_set = 1;
    return status;
}
