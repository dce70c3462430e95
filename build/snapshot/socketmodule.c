/* CPython's Modules/socketmodule.c with a platform for the rehearsal: see rehearsal.c. */
#include <Python.h>
#include <sys/socket.h>
#define connect azready_connect
#define send azready_send
#define setsockopt azready_setsockopt
int connect(int, const struct sockaddr *, socklen_t);
ssize_t send(int, const void *, size_t, int);
int setsockopt(int, int, int, const void *, socklen_t);
#include "Modules/socketmodule.c"
