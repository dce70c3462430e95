/* The allocator of the whole program: malloc() and its relatives.
 *
 * It has two lives. While the file is built, it hands out addresses of one fixed range, the arena,
 * so that everything that was ever allocated can be written into the file; what counts is that the
 * blocks lie close together. heap_seal() ends that. In the started file, blocks come from the pages
 * behind the snapshot, which the kernel fills with zeros; no page of the snapshot is written to,
 * and thus copied, for the sake of a new block.
 *
 * Built: blocks of up to SMALL bytes lie in pages of one size each, without a header; `kinds` has
 * the size for each page. Larger ones take the first hole that they fit into, and leave one that
 * joins its neighbours.
 *
 * Started: sizes are rounded up to a class: multiples of 16 up to 1024 bytes, then four steps to
 * each power of two, which wastes at most a fifth. A freed block waits in the list of its class,
 * which alone will use it: right for a process that lives for seconds. From LARGE on, blocks are
 * mappings. A freed block of the snapshot is not used again; each can be freed but once, so what
 * is lost is less than the snapshot. All together never hold more than HEAP_LIMIT.
 *
 * Every block but those in pages of one size: 8 bytes with mark, size and flag, then what the
 * caller gets, at a multiple of 16. The mark tells a second free() of the same block.
 *
 * There is no lock, because there is no second thread (nothreads.c). A child made by fork() has a
 * heap to itself.
 */
#define _GNU_SOURCE
#include "heap.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define SMALL ((size_t)512)
#define LARGE ((size_t)128 << 10)
#define CHUNK ((size_t)1 << 20)
#define RUN (16 * PAGE)
#define CLASSES 160
/* Of a header: the upper bits tell a block that is in use from one that is not, and from damage. */
#define LIVE ((size_t)0xA5E1 << 48)
#define FREE ((size_t)0xF4EE << 48)
#define MARK ((size_t)0xFFFF << 48)
#define MAPPED ((size_t)1)
#define SIZE(header) ((header) & ~MARK & ~(size_t)15)

/* Zeros that are not in the file, behind all other variables. */
__asm__(
    ".section .azarena,\"aw\",@nobits\n"
    ".balign 4096\n"
    ".global azready_arena\n"
    "azready_arena:\n"
    ".zero " HEAP_ARENA_TEXT "\n"
    ".previous\n"
);
extern char azready_arena[];

struct hole {
    size_t header;
    struct hole *next; /* by address */
};

static char *top;    /* built: the first page of the arena that is not in use */
static char *sealed; /* end of the snapshot; 0 while the file is built */
/* Built. */
static unsigned char kinds[HEAP_ARENA / PAGE]; /* size of the page's blocks / 16; 0: headers */
static void *small_lists[SMALL / 16 + 1];
static struct { char *next; size_t count; } small_pages[SMALL / 16 + 1];
static struct hole *holes;
static char *holes_end; /* of the pages that were last given to holes */
/* Started. */
static void *lists[CLASSES];
static struct { char *next, *end; } run; /* where the next block comes from */
static size_t held;                      /* bytes mapped, and the arena */

static void *out_of_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

static void damaged(const char *what)
{
    static const char start[] = "azready: error: memory is damaged: ";
    if (write(2, start, sizeof start - 1) < 0 || write(2, what, strlen(what)) < 0) {}
    _exit(1);
}

static inline size_t *header(void *block) { return (size_t *)block - 1; }
static inline int is_arena(const void *block, const char *end)
{
    return (const char *)block >= azready_arena && (const char *)block < end;
}
static inline size_t kind(const void *block)
{
    return is_arena(block, azready_arena + HEAP_ARENA)
        ? kinds[(size_t)((const char *)block - azready_arena) / PAGE] : 0;
}

/* The class of a block with a header; rounds `*size`, header included, up to it. */
static inline unsigned class_of(size_t *size)
{
    size_t all = (*size + 8 + 15) & ~(size_t)15, step;
    unsigned log;

    if (all <= 1024) {
        *size = all;
        return (unsigned)(all / 16);
    }
    log = 63 - (unsigned)__builtin_clzl(all - 1); /* all is in (2^log, 2^(log+1)] */
    step = (size_t)1 << (log - 2);
    *size = all = (all + step - 1) & ~(step - 1);
    return 64 + (log - 10) * 4 + (unsigned)((all - 1 - ((size_t)1 << log)) / step) + 1;
}

static char *map(size_t size)
{
    char *at;
    if (size > HEAP_LIMIT || held + size > HEAP_LIMIT)
        return out_of_memory();
    at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return out_of_memory();
    held += size;
    return at;
}

static inline size_t mapping_of(size_t size) { return (size + 16 + PAGE - 1) & ~(PAGE - 1); }

static void *map_block(size_t size)
{
    size_t all = mapping_of(size);
    char *at = map(all);
    if (at == NULL)
        return NULL;
    *header(at + 16) = all | MAPPED | LIVE;
    return at + 16;
}

static char *take_pages(size_t size)
{
    char *at;
    if (top == NULL)
        top = azready_arena;
    if (size > (size_t)(azready_arena + HEAP_ARENA - top))
        return out_of_memory();
    at = top;
    top += size;
    return at;
}

/* Makes a hole of the `size` bytes at `at`, and one with those that it touches. */
static void give_hole(char *at, size_t size)
{
    struct hole **place = &holes, *hole = (struct hole *)at, *before = NULL;

    while (*place != NULL && *place < hole) {
        before = *place;
        place = &before->next;
    }
    hole->next = *place;
    if (hole->next != NULL && at + size == (char *)hole->next) {
        size += SIZE(hole->next->header);
        hole->next = hole->next->next;
    }
    hole->header = size | FREE;
    *place = hole;
    if (before != NULL && (char *)before + SIZE(before->header) == at) {
        before->header += size;
        before->next = hole->next;
    }
}

static void *take_hole(size_t size)
{
    size_t all = (size + 8 + 15) & ~(size_t)15, has, pages;
    struct hole **place, *hole;
    char *at;

    for (place = &holes; (hole = *place) != NULL; place = &hole->next) {
        has = SIZE(hole->header);
        if (has < all)
            continue;
        *place = hole->next;
        if (has - all >= 32)
            give_hole((char *)hole + all, has - all);
        else
            all = has;
        hole->header = all | LIVE;
        return &hole->next;
    }
    pages = (all + 16 + RUN - 1) / RUN * RUN;
    at = take_pages(pages);
    if (at == NULL)
        return NULL;
    /* A header lies right before a multiple of 16, so 8 bytes are left at both ends. */
    if (at == holes_end)
        give_hole(at - 8, pages);
    else
        give_hole(at + 8, pages - 16);
    holes_end = at + pages;
    return take_hole(size);
}

static void *take_small(size_t size)
{
    size_t of = (size + 15) / 16;
    void *block = small_lists[of];

    if (block != NULL) {
        small_lists[of] = *(void **)block;
        return block;
    }
    if (small_pages[of].count == 0) {
        char *page = take_pages(PAGE);
        if (page == NULL)
            return NULL;
        kinds[(size_t)(page - azready_arena) / PAGE] = (unsigned char)of;
        small_pages[of].next = page;
        small_pages[of].count = PAGE / (of * 16);
    }
    block = small_pages[of].next;
    small_pages[of].next += of * 16;
    small_pages[of].count--;
    return block;
}

static inline void *take(size_t size, int *is_zero)
{
    unsigned class;
    void *block;

    *is_zero = 0;
    if (__builtin_expect(size > HEAP_LIMIT, 0))
        return out_of_memory();
    if (__builtin_expect(sealed == NULL, 0))
        return size <= SMALL ? take_small(size != 0 ? size : 1) : take_hole(size);
    if (size >= LARGE) {
        *is_zero = 1;
        return map_block(size);
    }
    class = class_of(&size);
    block = lists[class];
    if (block != NULL) {
        lists[class] = *(void **)block;
    } else {
        if (__builtin_expect((size_t)(run.end - run.next) < size, 0)) {
            char *at = map(CHUNK); /* what is left of the last one is lost */
            if (at == NULL)
                return NULL;
            run.next = at + 8;
            run.end = at + CHUNK;
        }
        block = run.next + 8;
        run.next += size;
        *is_zero = 1;
    }
    *header(block) = size | LIVE;
    return block;
}

/* Bytes that a block has. */
static size_t room(void *block)
{
    size_t of = kind(block), has;
    if (of != 0)
        return of * 16;
    has = *header(block);
    if ((has & MARK) != LIVE)
        damaged("a block that is not in use was given back or resized\n");
    return has & MAPPED ? SIZE(has) - 16 : SIZE(has) - 8;
}

void *malloc(size_t size)
{
    int is_zero;
    return take(size, &is_zero);
}

void *calloc(size_t count, size_t each)
{
    size_t size;
    int is_zero;
    void *block;

    if (__builtin_mul_overflow(count, each, &size))
        return out_of_memory();
    block = take(size, &is_zero);
    if (block != NULL && !is_zero)
        memset(block, 0, size);
    return block;
}

void free(void *block)
{
    size_t of, has;

    if (block == NULL || is_arena(block, sealed))
        return;
    if (sealed == NULL && (of = kind(block)) != 0) {
        *(void **)block = small_lists[of];
        small_lists[of] = block;
        return;
    }
    has = *header(block);
    if (__builtin_expect((has & MARK) != LIVE, 0))
        damaged("a block that is not in use was given back\n");
    if (sealed == NULL) {
        give_hole((char *)header(block), SIZE(has));
        return;
    }
    if (has & MAPPED) {
        held -= SIZE(has);
        munmap((char *)block - 16, SIZE(has));
        return;
    }
    *header(block) = SIZE(has) | FREE;
    has = SIZE(has) - 8;
    of = class_of(&has);
    *(void **)block = lists[of];
    lists[of] = block;
}

void *realloc(void *block, size_t size)
{
    size_t has;
    void *other;

    if (block == NULL)
        return malloc(size);
    has = room(block);
    if (kind(block) == 0 && *header(block) & MAPPED && size >= LARGE) {
        size_t all = mapping_of(size), before = has + 16;
        if (size > HEAP_LIMIT || held - before + all > HEAP_LIMIT)
            return out_of_memory();
        other = mremap((char *)block - 16, before, all, MREMAP_MAYMOVE);
        if (other == MAP_FAILED)
            return out_of_memory();
        held += all - before;
        *header((char *)other + 16) = all | MAPPED | LIVE;
        return (char *)other + 16;
    }
    if (size <= has && (size >= has / 2 || has <= 64))
        return block;
    other = malloc(size);
    if (other == NULL)
        return NULL;
    memcpy(other, block, size < has ? size : has);
    free(block);
    return other;
}

size_t malloc_usable_size(void *block) { return block != NULL ? room(block) : 0; }

/* The C library makes memalign() and posix_memalign() of it. */
void *aligned_alloc(size_t alignment, size_t size)
{
    if (alignment <= 16)
        return malloc(size);
    errno = EINVAL; /* nothing in the file asks for it */
    return NULL;
}

struct heap_range heap_seal(void)
{
    struct heap_range range = { azready_arena };
    void *block, *next;
    size_t at;

    for (at = 0; at < sizeof small_lists / sizeof *small_lists; at++) {
        for (block = small_lists[at]; block != NULL; block = next) {
            next = *(void **)block;
            memset(block, 0, at * 16);
        }
        small_lists[at] = NULL;
        small_pages[at].count = 0;
    }
    while (holes != NULL) {
        struct hole *hole = holes;
        holes = hole->next;
        memset(hole, 0, SIZE(hole->header));
    }
    if (top == NULL)
        take_pages(PAGE);
    sealed = range.end = top;
    range.limit = top + HEAP_ROOM;
    if (range.limit > azready_arena + HEAP_ARENA)
        range.limit = azready_arena + HEAP_ARENA;
    run.next = top + 8;
    run.end = range.limit;
    held = (size_t)(range.limit - range.begin);
    return range;
}

int heap_is_sealed(void) { return sealed != NULL; }
