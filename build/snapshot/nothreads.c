/* One thread: what the C library offers for several takes no work here.
 *
 * These definitions come before the library's. None of its own functions call them: it has other
 * names for itself. CPython takes and gives its lock (Python/ceval_gil.c) around nearly every system
 * call, a thousand times in a first boot, with two mutexes and a signal that nobody waits for.
 */
#include <errno.h>
#include <pthread.h>

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*start)(void *), void *with)
{
    (void)thread, (void)how, (void)start, (void)with;
    return EAGAIN;
}

int pthread_mutex_lock(pthread_mutex_t *mutex) { (void)mutex; return 0; }
int pthread_mutex_unlock(pthread_mutex_t *mutex) { (void)mutex; return 0; }
int pthread_cond_signal(pthread_cond_t *condition) { (void)condition; return 0; }
