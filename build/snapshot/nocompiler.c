/* What the rest of CPython wants of its parser and compiler, which the static file does not have.
 *
 * All code is compiled when the file is built. These few definitions come before the library, so
 * that Parser/ and half of Python/compile.c and its neighbours, 0.5 MB, are not linked in.
 * compile(), eval() and exec() of a text raise SystemError.
 */
#define Py_BUILD_CORE 1
#include <Python.h>

#define NEED_OPCODE_METADATA /* defines _PyOpcode_Caches and _PyOpcode_Deopt, as in compile.c */
#include "pycore_opcode_metadata.h"
#include "pycore_ast.h"
#include "pycore_compile.h"
#include "pycore_instruction_sequence.h"
#include "pycore_interp.h"
#include "pycore_parser.h"
#include "pycore_pyarena.h"
#include "pycore_symtable.h"

static void *refuse(void)
{
    PyErr_SetString(PyExc_SystemError, "this file has no compiler");
    return NULL;
}

/* PyArena is opaque: an address is enough, because nothing is allocated in it. */
PyArena *_PyArena_New(void) { static char arena; return (PyArena *)&arena; }
void _PyArena_Free(PyArena *arena) { (void)arena; }

mod_ty _PyParser_ASTFromString(const char *text, PyObject *file, int mode, PyCompilerFlags *flags,
                               PyArena *arena)
{
    (void)text, (void)file, (void)mode, (void)flags, (void)arena;
    return refuse();
}

mod_ty _PyParser_ASTFromFile(FILE *from, PyObject *file, const char *encoding, int mode,
                             const char *first, const char *others, PyCompilerFlags *flags,
                             int *error, PyArena *arena)
{
    (void)from, (void)file, (void)encoding, (void)mode, (void)first, (void)others, (void)flags;
    (void)error, (void)arena;
    return refuse();
}

mod_ty _PyParser_InteractiveASTFromFile(FILE *from, PyObject *file, const char *encoding, int mode,
                                        const char *first, const char *others,
                                        PyCompilerFlags *flags, int *error, PyObject **source,
                                        PyArena *arena)
{
    (void)source;
    return _PyParser_ASTFromFile(from, file, encoding, mode, first, others, flags, error, arena);
}

char *_PyTokenizer_FindEncodingFilename(int fd, PyObject *file)
{
    (void)fd, (void)file;
    return NULL; /* UTF-8 */
}

PyCodeObject *_PyAST_Compile(mod_ty tree, PyObject *file, PyCompilerFlags *flags, int level,
                             PyArena *arena)
{
    (void)tree, (void)file, (void)flags, (void)level, (void)arena;
    return refuse();
}

int _PyCompile_AstOptimize(mod_ty tree, PyObject *file, PyCompilerFlags *flags, int level,
                           PyArena *arena)
{
    (void)tree, (void)file, (void)flags, (void)level, (void)arena;
    refuse();
    return -1;
}

int PyCompile_OpcodeStackEffect(int opcode, int argument)
{
    (void)opcode, (void)argument;
    return PY_INVALID_STACK_EFFECT;
}

int PyAST_Check(PyObject *object) { (void)object; return 0; }
PyObject *PyAST_mod2obj(mod_ty tree) { (void)tree; return refuse(); }
mod_ty PyAST_obj2mod(PyObject *tree, PyArena *arena, int mode)
{
    (void)tree, (void)arena, (void)mode;
    return refuse();
}
int _PyAST_Validate(mod_ty tree) { (void)tree; return 0; }
void _PyAST_Fini(PyInterpreterState *interpreter) { (void)interpreter; }

/* Objects/object.c makes these types ready; nothing makes an object of them. */
#define UNUSED_TYPE(name) { PyVarObject_HEAD_INIT(NULL, 0) name, sizeof(PyObject) }
PyTypeObject PySTEntry_Type = UNUSED_TYPE("symtable entry");
PyTypeObject _PyInstructionSequence_Type = UNUSED_TYPE("InstructionSequence");

/* The names in __slots__ that are private to a class (Objects/typeobject.c): _Class__name. */
PyObject *_Py_Mangle(PyObject *private_to, PyObject *name)
{
    const char *class, *text;
    size_t size;

    if (private_to == NULL || !PyUnicode_Check(private_to))
        return Py_NewRef(name);
    class = PyUnicode_AsUTF8(private_to);
    text = PyUnicode_AsUTF8(name);
    if (class == NULL || text == NULL)
        return NULL;
    size = strlen(text);
    class += strspn(class, "_");
    if (strncmp(text, "__", 2) != 0 || strcmp(text + size - (size < 2 ? size : 2), "__") == 0
        || strchr(text, '.') != NULL || *class == '\0')
        return Py_NewRef(name);
    return PyUnicode_FromFormat("_%s%s", class, text);
}
