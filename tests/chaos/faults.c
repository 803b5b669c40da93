/*
 * Fails or ends a program at one chosen call on the files below a folder: to be preloaded (LD_PRELOAD).
 *
 *   PROBITY_FAULT_BELOW   the folder, absolute; calls on paths below it count, over all threads
 *   PROBITY_FAULT_LOG     where each of them is noted: "CALL NUMBER PATH"; NUMBER is 0 where it is another call
 *   PROBITY_FAULT_CALL    open, write, fsync, rename, unlink, truncate or mkdir; without it, calls are only noted;
 *                         change is every call that a full disk (ENOSPC) or a read-only one (EROFS) refuses
 *   PROBITY_FAULT_WHILE   a file: calls are hit as long as it is there
 *   PROBITY_FAULT_AT      the first one that is hit, from 1
 *   PROBITY_FAULT_TIMES   how many in a row are hit
 *   PROBITY_FAULT_HOW     kill: SIGKILL before the call; torn: half of a write is done, then SIGKILL;
 *                         or the number of an error that the call fails with
 *
 * Two kinds of lines are told besides: "hit CALL NUMBER PATH", and "again PATH" where a file whose fsync was made to
 * fail is synced once more without having been made anew.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTORS = 8192, KILL = -1, TORN = -2, FAILED = 32 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *paths[DESCRIPTORS];
static char *failed[FAILED];
static const char *below, *call, *as_long_as;
static long at, times, count;
static int how, notes = -1;

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *text;
    below = getenv("PROBITY_FAULT_BELOW");
    call = getenv("PROBITY_FAULT_CALL");
    as_long_as = getenv("PROBITY_FAULT_WHILE");
    at = (text = getenv("PROBITY_FAULT_AT")) ? atol(text) : 0;
    times = (text = getenv("PROBITY_FAULT_TIMES")) ? atol(text) : 1;
    text = getenv("PROBITY_FAULT_HOW");
    how = !text || !strcmp(text, "kill") ? KILL : !strcmp(text, "torn") ? TORN : atoi(text);
    text = getenv("PROBITY_FAULT_LOG");
    if (text)
        notes = (int)syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    /* Programs that this one starts are none of our business. */
    unsetenv("LD_PRELOAD");
}

static void note(const char *form, ...) {
    char line[4096];
    va_list values;
    va_start(values, form);
    int length = vsnprintf(line, sizeof line, form, values);
    va_end(values);
    if (notes >= 0 && length > 0)
        syscall(SYS_write, notes, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

static int is_below(const char *path) {
    return below && path && !strncmp(path, below, strlen(below));
}

static int is_there(const char *path) { return !syscall(SYS_faccessat, AT_FDCWD, path, F_OK); }

/* Whether a call of this name is one of those that are asked for. */
static int is_meant(const char *name, const char *path) {
    if (!call || (as_long_as && !is_there(as_long_as)))
        return 0;
    if (strcmp(call, "change"))
        return !strcmp(call, name);
    /* What is there need not be made: the kernel says so first. A full disk lets go of what it has. */
    int made = !strcmp(name, "mkdir") && is_there(path);
    int lets_go = how == ENOSPC && (!strcmp(name, "unlink") || !strcmp(name, "truncate"));
    return !made && !lets_go && strcmp(name, "open") && strcmp(name, "fsync");
}

/* 0, or what is to be done to this call. */
static int fault(const char *name, const char *path) {
    if (!is_below(path))
        return 0;
    pthread_mutex_lock(&lock);
    long number = is_meant(name, path) ? ++count : 0;
    int hit = number && number >= at && number < at + times;
    note("%s %ld %s\n", name, number, path);
    if (hit)
        note("hit %s %ld %s\n", name, number, path);
    if (hit && how == KILL)
        for (;;)
            kill(getpid(), SIGKILL);
    pthread_mutex_unlock(&lock);
    return hit ? how : 0;
}

static int failing(const char *name, const char *path) {
    int what = fault(name, path);
    if (what > 0)
        errno = what;
    return what > 0;
}

/* Opening to write is a change where the disk is read-only, making a file where it is full. */
static int fails_to_open(const char *path, int flags) {
    int change = how == EROFS ? (flags & O_ACCMODE) != O_RDONLY : flags & O_CREAT && !is_there(path);
    if (call && !strcmp(call, "change") && change)
        return failing("create", path);
    return failing("open", path);
}

static const char *path_of(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS ? paths[descriptor] : NULL;
}

static void forget_failure(const char *path) {
    for (int i = 0; i < FAILED; i++)
        if (failed[i] && !strcmp(failed[i], path)) {
            free(failed[i]);
            failed[i] = NULL;
        }
}

static int opened(int descriptor, const char *path, int flags) {
    if (descriptor < 0 || descriptor >= DESCRIPTORS)
        return descriptor;
    pthread_mutex_lock(&lock);
    free(paths[descriptor]);
    paths[descriptor] = is_below(path) ? strdup(path) : NULL;
    if (is_below(path) && flags & (O_TRUNC | O_EXCL))
        forget_failure(path);
    pthread_mutex_unlock(&lock);
    return descriptor;
}

#define OPEN(function)                                                                                                \
    int function(const char *path, int flags, ...) {                                                                  \
        mode_t mode = 0;                                                                                              \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                          \
            va_list values;                                                                                           \
            va_start(values, flags);                                                                                  \
            mode = va_arg(values, mode_t);                                                                            \
            va_end(values);                                                                                           \
        }                                                                                                             \
        if (fails_to_open(path, flags))                                                                               \
            return -1;                                                                                                \
        return opened(NEXT(function)(path, flags, mode), path, flags);                                                \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(function)                                                                                              \
    int function(int folder, const char *path, int flags, ...) {                                                      \
        mode_t mode = 0;                                                                                              \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                          \
            va_list values;                                                                                           \
            va_start(values, flags);                                                                                  \
            mode = va_arg(values, mode_t);                                                                            \
            va_end(values);                                                                                           \
        }                                                                                                             \
        if (fails_to_open(path, flags))                                                                               \
            return -1;                                                                                                \
        return opened(NEXT(function)(folder, path, flags, mode), path, flags);                                        \
    }
OPENAT(openat)
OPENAT(openat64)

DIR *opendir(const char *path) { return failing("open", path) ? NULL : NEXT(opendir)(path); }

int close(int descriptor) {
    if (descriptor >= 0 && descriptor < DESCRIPTORS && paths[descriptor]) {
        pthread_mutex_lock(&lock);
        free(paths[descriptor]);
        paths[descriptor] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return NEXT(close)(descriptor);
}

#define WRITE(half, whole)                                                                                            \
    int what = fault("write", path_of(descriptor));                                                                   \
    if (what > 0) {                                                                                                   \
        errno = what;                                                                                                 \
        return -1;                                                                                                    \
    }                                                                                                                 \
    if (what == TORN) {                                                                                               \
        if (half < 0)                                                                                                 \
            perror("half a write");                                                                                   \
        for (;;)                                                                                                      \
            kill(getpid(), SIGKILL);                                                                                  \
    }                                                                                                                 \
    return whole;

ssize_t write(int descriptor, const void *bytes, size_t length) {
    WRITE(NEXT(write)(descriptor, bytes, length / 2), NEXT(write)(descriptor, bytes, length))
}
ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t place) {
    WRITE(NEXT(pwrite64)(descriptor, bytes, length / 2, place), NEXT(pwrite64)(descriptor, bytes, length, place))
}
ssize_t writev(int descriptor, const struct iovec *parts, int number) {
    WRITE(NEXT(writev)(descriptor, parts, 1), NEXT(writev)(descriptor, parts, number))
}

static int sync_with(int descriptor, int (*next)(int)) {
    const char *path = path_of(descriptor);
    struct stat file;
    int is_file = path && !fstat(descriptor, &file) && S_ISREG(file.st_mode);
    if (is_file) {
        pthread_mutex_lock(&lock);
        for (int i = 0; i < FAILED; i++)
            if (failed[i] && !strcmp(failed[i], path))
                note("again %s\n", path);
        pthread_mutex_unlock(&lock);
    }
    if (!failing("fsync", path))
        return next(descriptor);
    if (is_file) {
        pthread_mutex_lock(&lock);
        for (int i = 0; i < FAILED; i++)
            if (!failed[i]) {
                failed[i] = strdup(path);
                break;
            }
        pthread_mutex_unlock(&lock);
    }
    return -1;
}
int fsync(int descriptor) { return sync_with(descriptor, NEXT(fsync)); }
int fdatasync(int descriptor) { return sync_with(descriptor, NEXT(fdatasync)); }

int ftruncate64(int descriptor, off64_t length) {
    return failing("truncate", path_of(descriptor)) ? -1 : NEXT(ftruncate64)(descriptor, length);
}
int rename(const char *from, const char *to) { return failing("rename", from) ? -1 : NEXT(rename)(from, to); }
int unlink(const char *path) { return failing("unlink", path) ? -1 : NEXT(unlink)(path); }
int rmdir(const char *path) { return failing("unlink", path) ? -1 : NEXT(rmdir)(path); }
int mkdir(const char *path, mode_t mode) { return failing("mkdir", path) ? -1 : NEXT(mkdir)(path, mode); }
