/* The program around the package that Nuitka compiled: it starts CPython with every setting given,
 * then imports agent.__main__, which ends the process.
 *
 * Nuitka's own main program is not used. It reads its file's name from /proc/self/exe and aborts
 * without /proc; and it imports inspect and typing to teach them about its types. Instead, the
 * package is compiled as an extension module, which needs four things that are provided here.
 */
#define _GNU_SOURCE
#include <Python.h>
#include <dlfcn.h>

extern PyObject *PyInit_agent(void);

/* The path of the shared library. There is none, but the modules take their __file__ from it. */
int dladdr(const void *address, Dl_info *info)
{
    (void)address;
    memset(info, 0, sizeof *info);
    info->dli_fname = "/azready";
    return 1;
}

/* Replaces patchInspectModule(), by -D. */
void azready_leave_inspect_alone(PyThreadState *state) { (void)state; }

/* A compiled package needs nothing of os but os.path.dirname(), to make its __path__. */
static PyObject *dirname_of(PyObject *module, PyObject *path)
{
    (void)module;
    return Py_NewRef(path);
}

static int answer_imports(void)
{
    static PyMethodDef functions[] = { { "dirname", dirname_of, METH_O, NULL }, { 0 } };
    static PyModuleDef definition = {
        PyModuleDef_HEAD_INIT, .m_name = "os", .m_size = -1, .m_methods = functions
    };
    PyObject *modules = PyImport_GetModuleDict(), *os = PyModule_Create(&definition);
    PyObject *bootstrap = PyDict_GetItemString(modules, "_frozen_importlib");

    return !os || !bootstrap || PyModule_AddObjectRef(os, "path", os)
        || PyDict_SetItemString(modules, "os", os)
        || PyDict_SetItemString(modules, "importlib", bootstrap)
        || PyDict_SetItemString(modules, "importlib._bootstrap", bootstrap);
}

static PyStatus start(int count, char **arguments)
{
    PyPreConfig before;
    PyConfig config;
    PyStatus status;

    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    status = Py_PreInitialize(&before);
    if (PyStatus_Exception(status))
        return status;
    if (PyImport_AppendInittab("agent", PyInit_agent))
        return PyStatus_NoMemory();
    PyConfig_InitIsolatedConfig(&config);
    config.parse_argv = config.site_import = config.write_bytecode = config.code_debug_ranges = 0;
    config.optimization_level = 2;
    status = PyConfig_SetBytesArgv(&config, count, arguments);
    /* This becomes sys.executable, from which the file installs itself if there is no /proc. */
    if (!PyStatus_Exception(status))
        status = PyConfig_SetBytesString(&config, &config.program_name, arguments[0]);
    return PyStatus_Exception(status) ? status : Py_InitializeFromConfig(&config);
}

int main(int count, char **arguments)
{
    PyStatus status = start(count, arguments);
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
    if (!answer_imports()
        && !PySys_SetObject("frozen", PyUnicode_FromString("Nuitka " AZREADY_NUITKA)))
        PyImport_ImportModule("agent.__main__");
    PyErr_Print();
    return 1;
}
