// Moves the wall clock of a program that preloads it, by the seconds in CLOCK_AHEAD. The monotonic clock, by which timers run, stays.
//
// Not libfaketime: it shows the real time inside signal handlers that interrupt a wait. PostgreSQL compares its timeouts there, so that they
// end minutes early or late.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int (*real)(clockid_t, struct timespec *);
static long ahead;

__attribute__((constructor)) static void start(void) {
    const char *seconds = getenv("CLOCK_AHEAD");
    ahead = seconds ? atol(seconds) : 0;
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    // Other libraries may ask before `start` has run.
    int failed = real ? real(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec moved;
    int failed = clock_gettime(CLOCK_REALTIME, &moved);
    if (!failed) *now = (struct timeval){.tv_sec = moved.tv_sec, .tv_usec = moved.tv_nsec / 1000};
    return failed;
}

time_t time(time_t *now) {
    struct timespec moved;
    clock_gettime(CLOCK_REALTIME_COARSE, &moved);
    if (now) *now = moved.tv_sec;
    return moved.tv_sec;
}
