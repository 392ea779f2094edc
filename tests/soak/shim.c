// Between the daemon and the system, by LD_PRELOAD: a disk that is full or read-only, a clock that jumps, and a record of
// what was written to files and not yet synced, which a loss of power takes back. Only files below SOAK_FOLDER are concerned.
// What is not modelled: names of files that a lost directory entry would take with it; copies between files
// (copy_file_range, sendfile) and raw system calls, with which backups and index generations are made in part.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define FILES 4096

enum { FINE = 0, FULL = 1, READ_ONLY = 2 };

struct control {
    volatile int64_t clock_ns;
    volatile int64_t disk;
};

// What stands before the bytes that were there, in a record of SOAK_UNDO.
struct record {
    uint64_t offset;
    uint64_t length;
    uint64_t size_before;
};

static struct control *control;
static char folder[4096], undo[4096];
static _Atomic char ours[FILES];
static pthread_mutex_t writes = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SOAK_CONTROL");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) control = page;
    const char *of = getenv("SOAK_FOLDER"), *to = getenv("SOAK_UNDO");
    if (of) snprintf(folder, sizeof folder, "%s/", of);
    if (to) snprintf(undo, sizeof undo, "%s", to);
}

static int is_below(const char *path) { return folder[0] && strncmp(path, folder, strlen(folder)) == 0; }

static int is_ours(int file) { return file >= 0 && file < FILES && ours[file]; }

// The error that the disk answers a change with; 0: none.
static int refusal(void) {
    switch (control ? control->disk : FINE) {
    case FULL: return ENOSPC;
    case READ_ONLY: return EROFS;
    default: return 0;
    }
}

static int undo_file(int file, int flags) {
    struct stat of;
    char name[4200];
    if (!undo[0] || fstat(file, &of) != 0) return -1;
    snprintf(name, sizeof name, "%s/%llu", undo, (unsigned long long)of.st_ino);
    REAL(open64);
    return real(name, flags | O_CLOEXEC, 0600);
}

// Keeps what a write or a cut will take away. Called under the lock.
static void remember(int file, uint64_t offset, uint64_t length) {
    struct stat of;
    if (!undo[0] || fstat(file, &of) != 0) return;
    uint64_t size = (uint64_t)of.st_size;
    uint64_t there = offset < size ? (length < size - offset ? length : size - offset) : 0;
    char *record = malloc(sizeof(struct record) + there);
    if (!record) return;
    // The file may be open for writing only.
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    REAL(open64);
    int reader = there ? real(name, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got = reader < 0 ? 0 : pread64(reader, record + sizeof(struct record), there, (off64_t)offset);
    if (reader >= 0) close(reader);
    struct record head = {offset, got < 0 ? 0 : (uint64_t)got, size};
    memcpy(record, &head, sizeof head);
    int log = undo_file(file, O_WRONLY | O_CREAT | O_APPEND);
    if (log >= 0) {
        REAL(write);
        if (real(log, record, sizeof head + head.length) < 0) abort();
        close(log);
    }
    free(record);
}

// What was written to the file is on the disk; or it is a new one, whose number may have been that of another.
static void settle(int file) {
    pthread_mutex_lock(&writes);
    int log = undo_file(file, O_WRONLY);
    if (log >= 0) {
        REAL(ftruncate64);
        if (real(log, 0) != 0) abort();
        close(log);
    }
    pthread_mutex_unlock(&writes);
}

static int opened(int flags, int file) {
    if (file >= 0 && file < FILES) ours[file] = (flags & O_ACCMODE) != O_RDONLY;
    return file;
}

static int may_open(const char *path, int flags) {
    int changes = flags & (O_CREAT | O_TRUNC) || (flags & O_ACCMODE) != O_RDONLY;
    if (!changes || !refusal()) return 1;
    // On a full disk what is there can be opened, and nothing be made.
    struct stat of;
    if (refusal() == ENOSPC && !(flags & O_TRUNC) && stat(path, &of) == 0) return 1;
    errno = refusal();
    return 0;
}

#define OPEN(name)                                                                                                       \
    int name(const char *path, int flags, ...) {                                                                         \
        va_list rest;                                                                                                    \
        va_start(rest, flags);                                                                                           \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                          \
        va_end(rest);                                                                                                    \
        REAL(name);                                                                                                      \
        if (!is_below(path)) return real(path, flags, mode);                                                             \
        if (!may_open(path, flags)) return -1;                                                                           \
        struct stat of;                                                                                                  \
        int is_new = stat(path, &of) != 0;                                                                               \
        int file = opened(flags, real(path, flags & ~O_TRUNC, mode));                                                    \
        if (file >= 0 && is_new) settle(file);                                                                           \
        if (file >= 0 && flags & O_TRUNC && !is_new && of.st_size > 0 && ftruncate64(file, 0) != 0) abort();             \
        return file;                                                                                                     \
    }
OPEN(open)
OPEN(open64)

int close(int file) {
    if (file >= 0 && file < FILES) ours[file] = 0;
    REAL(close);
    return real(file);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    REAL(pwrite64);
    if (!is_ours(file)) return real(file, bytes, count, offset);
    if (refusal()) return errno = refusal(), -1;
    pthread_mutex_lock(&writes);
    remember(file, (uint64_t)offset, count);
    ssize_t wrote = real(file, bytes, count, offset);
    pthread_mutex_unlock(&writes);
    return wrote;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) { return pwrite64(file, bytes, count, offset); }

ssize_t write(int file, const void *bytes, size_t count) {
    REAL(write);
    if (!is_ours(file)) return real(file, bytes, count);
    if (refusal()) return errno = refusal(), -1;
    pthread_mutex_lock(&writes);
    struct stat of;
    int appends = fcntl(file, F_GETFL) & O_APPEND;
    off64_t at = appends && fstat(file, &of) == 0 ? of.st_size : lseek64(file, 0, SEEK_CUR);
    if (at >= 0) remember(file, (uint64_t)at, count);
    ssize_t wrote = real(file, bytes, count);
    pthread_mutex_unlock(&writes);
    return wrote;
}

int ftruncate64(int file, off64_t length) {
    REAL(ftruncate64);
    if (!is_ours(file)) return real(file, length);
    if (refusal()) return errno = refusal(), -1;
    pthread_mutex_lock(&writes);
    struct stat of;
    if (fstat(file, &of) == 0 && of.st_size > length) remember(file, (uint64_t)length, (uint64_t)(of.st_size - length));
    else remember(file, (uint64_t)length, 0);
    int cut = real(file, length);
    pthread_mutex_unlock(&writes);
    return cut;
}

int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

int fsync(int file) {
    REAL(fsync);
    settle(file);
    return real(file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    settle(file);
    return real(file);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    if (is_below(to) && refusal() == EROFS) return errno = EROFS, -1;
    return real(from, to);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    if (is_below(path) && refusal()) return errno = refusal(), -1;
    return real(path, mode);
}

int unlink(const char *path) {
    REAL(unlink);
    if (is_below(path) && refusal() == EROFS) return errno = EROFS, -1;
    return real(path);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int got = real(clock, time);
    if (got != 0 || clock != CLOCK_REALTIME || !control) return got;
    int64_t whole = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + control->clock_ns;
    time->tv_sec = whole / 1000000000;
    time->tv_nsec = whole % 1000000000;
    return got;
}
