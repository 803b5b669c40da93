/*
 * Hides /proc/self/exe from a program: to be preloaded (LD_PRELOAD). Under valgrind that link leads to valgrind's own
 * tool, and the program would start it in place of itself to have plugins compiled. Without it, it compiles in place.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_hidden(const char *path) {
    if (!path || strcmp(path, "/proc/self/exe") != 0)
        return 0;
    errno = ENOENT;
    return 1;
}

int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict told) {
    return is_hidden(path) ? -1 : NEXT(statx)(folder, path, flags, mask, told);
}

ssize_t readlink(const char *restrict path, char *restrict text, size_t room) {
    return is_hidden(path) ? -1 : NEXT(readlink)(path, text, room);
}
