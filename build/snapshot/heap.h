/* See heap.c. */
#include <stddef.h>

/* Address space for what is allocated while the file is built; a build that needs more fails. */
#define HEAP_ARENA (16 << 20)
#define HEAP_ARENA_TEXT "16777216"
/* What a started file has behind its snapshot before it maps more. */
#define HEAP_ROOM (1 << 20)
/* What a process may hold at one time, snapshot included; beyond it, Python raises MemoryError. */
#define HEAP_LIMIT ((size_t)256 << 20)

struct heap_range {
    char *begin, *end; /* what belongs into the file */
    char *limit;       /* end of the memory that the started file needs at this place */
};

/* Ends the building: zeroes what is free, and lets later blocks start on a page of their own. */
struct heap_range heap_seal(void);
int heap_is_sealed(void);
