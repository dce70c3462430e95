/* CPython's Python/pytime.c with a clock for the rehearsal: see rehearsal.c. */
#define clock_gettime azready_clock_gettime
#include "Python/pytime.c"
