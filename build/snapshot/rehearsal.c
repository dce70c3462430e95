/* A platform that is not there: while the file is built, the agent reports to it a few times.
 *
 * The interpreter then has adapted its code and filled its caches when the snapshot is taken, which
 * saves each start a fifth of its instructions, and the copies of the pages they are in. CPython's
 * socketmodule.c and pytime.c call these functions instead of the C library's; in the started file,
 * they are the C library's. Nothing leaves the process, and time goes by in equal steps, so the
 * same memory comes out every time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "heap.h"

#define ID "00000000-0000-0000-0000-000000000000"
static const char goal_state[] =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n"
    "<GoalState xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
    "xsi:noNamespaceSchemaLocation=\"goalstate10.xsd\">\r\n"
    "  <Version>2012-11-30</Version>\r\n  <Incarnation>1</Incarnation>\r\n"
    "  <Machine>\r\n    <ExpectedState>Started</ExpectedState>\r\n"
    "    <LBProbePorts>\r\n      <Port>16001</Port>\r\n    </LBProbePorts>\r\n  </Machine>\r\n"
    "  <Container>\r\n    <ContainerId>" ID "</ContainerId>\r\n"
    "    <RoleInstanceList>\r\n      <RoleInstance>\r\n"
    "        <InstanceId>" ID "._rehearsal</InstanceId>\r\n        <State>Started</State>\r\n"
    "        <Configuration>\r\n          <SharedConfig>http://127.0.0.1/</SharedConfig>\r\n"
    "        </Configuration>\r\n      </RoleInstance>\r\n    </RoleInstanceList>\r\n"
    "  </Container>\r\n</GoalState>\r\n";
static int peer = -1;

int azready_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int pair[2];
    if (heap_is_sealed())
        return connect(fd, address, size);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0
        || dup3(pair[0], fd, O_CLOEXEC) < 0)
        return -1;
    close(pair[0]);
    peer = pair[1];
    return 0;
}

int azready_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    return heap_is_sealed() ? setsockopt(fd, level, name, value, size) : 0;
}

ssize_t azready_send(int fd, const void *data, size_t size, int flags)
{
    const char *body = size > 3 && memcmp(data, "GET", 3) == 0 ? goal_state : "";
    if (heap_is_sealed())
        return send(fd, data, size, flags);
    if (dprintf(peer, "HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\n"
                      "Content-Length: %zu\r\n\r\n%s", strlen(body), body) < 0)
        return -1;
    close(peer);
    return (ssize_t)size;
}

int azready_clock_gettime(clockid_t clock, struct timespec *now)
{
    static long calls;
    if (heap_is_sealed())
        return clock_gettime(clock, now);
    calls++;
    now->tv_sec = 1000000 + calls / 1000;
    now->tv_nsec = calls % 1000 * 1000000;
    return 0;
}
