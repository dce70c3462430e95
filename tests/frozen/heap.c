/* Carries out what it reads, one call of the allocator a line, and prints where each block is:
 *
 *     m SLOT SIZE   malloc      c SLOT SIZE   calloc      r SLOT SIZE   realloc     f SLOT   free
 *     s             heap_seal   a SIZE        aligned_alloc(64, SIZE)                d SLOT   free
 *     (also prints how many bytes of what was sealed are not zero)
 *
 * Every block is filled with a pattern of its own, which is checked whenever the block is touched.
 * Each line of output is the address (0: refused) and the size that the block has.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap.h"

void *heap_malloc(size_t), *heap_calloc(size_t, size_t), *heap_realloc(void *, size_t);
void *heap_aligned_alloc(size_t, size_t);
void heap_free(void *);
size_t heap_malloc_usable_size(void *);

static struct { unsigned char *block; size_t size; unsigned char pattern; } slots[256];

static void fail(const char *what, int slot)
{
    printf("%s in slot %d\n", what, slot);
    exit(2);
}

static void check(int slot, size_t size)
{
    size_t at;
    for (at = 0; at < size; at++)
        if (slots[slot].block[at] != slots[slot].pattern)
            fail("damage", slot);
}

static void fill(int slot, unsigned char *block, size_t size)
{
    static unsigned char next;
    slots[slot].block = block;
    slots[slot].size = block != NULL ? size : 0;
    slots[slot].pattern = ++next;
    memset(block, slots[slot].pattern, slots[slot].size);
    printf("%zu %zu\n", (size_t)block, block != NULL ? heap_malloc_usable_size(block) : errno);
}

int main(void)
{
    static char line[100];
    unsigned char *block;
    size_t size, at;
    int slot;
    char what;

    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    while (fgets(line, sizeof line, stdin) != NULL) {
        slot = 0, size = 0, errno = 0;
        if (sscanf(line, "%c %d %zu", &what, &slot, &size) < 1)
            return 3;
        switch (what) {
        case 'm':
            fill(slot, heap_malloc(size), size);
            break;
        case 'c':
            block = heap_calloc(size, 1);
            for (at = 0; block != NULL && at < size; at++)
                if (block[at] != 0)
                    fail("no zero", slot);
            fill(slot, block, size);
            break;
        case 'r':
            check(slot, slots[slot].size);
            block = heap_realloc(slots[slot].block, size);
            if (block != NULL) {
                slots[slot].block = block;
                check(slot, size < slots[slot].size ? size : slots[slot].size);
                fill(slot, block, size);
            } else
                printf("0 %d\n", errno);
            break;
        case 'f':
            check(slot, slots[slot].size);
            heap_free(slots[slot].block);
            slots[slot].block = NULL;
            slots[slot].size = 0;
            puts("0 0");
            break;
        case 'd':
            heap_free(slots[slot].block);
            puts("0 0");
            break;
        case 's': {
            struct heap_range range = heap_seal();
            const char *byte;
            for (byte = range.begin; byte < range.end; byte++)
                size += *byte != 0;
            printf("%zu %zu %zu\n", (size_t)range.begin, (size_t)range.end, size);
            break;
        }
        case 'a':
            block = heap_aligned_alloc(64, (size_t)slot);
            printf("%zu %d\n", (size_t)block, errno);
            break;
        }
    }
    for (slot = 0; slot < 256; slot++)
        check(slot, slots[slot].size);
    puts("intact");
    return 0;
}
