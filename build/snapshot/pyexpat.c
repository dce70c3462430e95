/* CPython's Modules/pyexpat.c with another function for the key of expat's tables: see resume.c. */
#define XML_SetHashSalt16Bytes azready_set_hash_salt
#include "Modules/pyexpat.c"
