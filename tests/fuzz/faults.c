/* Faults of a file system, for tests: preloaded into a process with LD_PRELOAD.
 *
 * Counts every operation that changes a file below a folder, and does one of these:
 *   - kills the process before operation number `kill_at`; a write is cut in half first
 *     if `tear` is set;
 *   - lets writes fail with "no space left on device" beyond `budget` bytes;
 *   - writes a journal from which a power cut is simulated: what was written to which
 *     file, what was synced, and which entries of folders changed. What a folder loses
 *     is kept in `grave`, as hard links named by the number of the operation.
 *
 * A line of the journal: number, operation, inode, size, path, other path; by tabs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FD 65536
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX], grave[PATH_MAX];
static int armed, tear, journal = -1;
static long kill_at, num_operations, budget, num_bytes;
static unsigned char watched[MAX_FD], failed[MAX_FD];

/* Starts counting, in this process and from now on. Zero or empty: not wanted. */
void faults_arm(const char *folder, long at, int torn, long bytes, const char *log,
                const char *graveyard) {
    snprintf(root, sizeof root, "%s/", folder);
    snprintf(grave, sizeof grave, "%s", graveyard);
    kill_at = at, tear = torn, budget = bytes, num_operations = num_bytes = 0;
    journal = *log ? syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600)
                   : -1;
    armed = 1;
}

long faults_operations(void) { return num_operations; }
long faults_bytes(void) { return num_bytes; }

/* Makes a path absolute; returns whether it is below the folder. */
static int is_below(int dir, const char *path, char *full) {
    if (!armed || path == NULL) return 0;
    if (path[0] == '/') {
        snprintf(full, PATH_MAX, "%s", path);
    } else if (dir == AT_FDCWD) {
        if (getcwd(full, PATH_MAX) == NULL) return 0;
        size_t used = strlen(full);
        snprintf(full + used, PATH_MAX - used, "/%s", path);
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        ssize_t used = readlink(link, full, PATH_MAX - 1);
        if (used < 0) return 0;
        snprintf(full + used, PATH_MAX - used, "/%s", path);
    }
    /* TensorFlow joins some paths with two slashes. */
    char *to = full;
    for (char *from = full; *from; from++)
        if (!(from[0] == '/' && from[1] == '/')) *to++ = *from;
    *to = 0;
    size_t length = strlen(root) - 1; /* Without the slash at its end. */
    return strncmp(full, root, length) == 0 && (!full[length] || full[length] == '/');
}

static void name_fd(int fd, char *full) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t used = readlink(link, full, PATH_MAX - 1);
    full[used < 0 ? 0 : used] = 0;
}

static void write_journal(long number, const char *operation, const struct stat *info,
                          const char *path, const char *other) {
    if (journal < 0) return;
    char line[2 * PATH_MAX + 128];
    int used = snprintf(line, sizeof line, "%ld\t%s\t%lu\t%ld\t%s\t%s\n", number, operation,
                        info ? (unsigned long)info->st_ino : 0,
                        info ? (long)info->st_size : 0, path, other ? other : "");
    syscall(SYS_write, journal, line, used);
}

/* Counts an operation; does not return if the process dies before it. */
static long begin(int fd, const void *data, size_t size) {
    long number = ++num_operations;
    if (kill_at && number == kill_at) {
        if (tear && data != NULL && size > 1) syscall(SYS_write, fd, data, size / 2);
        syscall(SYS_kill, getpid(), SIGKILL);
        for (;;) pause();
    }
    return number;
}

static void note_path(long number, const char *operation, const char *path,
                      const char *other) {
    struct stat info;
    int exists = lstat(other ? other : path, &info) == 0;
    write_journal(number, operation, exists ? &info : NULL, path, other);
}

static void note_fd(long number, const char *operation, int fd) {
    struct stat info;
    char path[PATH_MAX];
    if (journal < 0 || fstat(fd, &info) != 0) return;
    name_fd(fd, path);
    write_journal(number, operation, &info, path, NULL);
}

/* Keeps what an operation is about to remove from a folder. */
static void bury(long number, const char *path) {
    if (!*grave) return;
    char target[PATH_MAX + 32];
    snprintf(target, sizeof target, "%s/%ld", grave, number);
    syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, target, 0);
}

/* Returns how many of some bytes fit, and gives back what a removed file took. */
static size_t take(size_t size) {
    num_bytes += size;
    if (!budget) return size;
    size_t fits = (long)size < budget - 1 ? size : (size_t)(budget - 1);
    budget -= fits;
    return fits;
}

static void give_back(const char *path) {
    struct stat info;
    if (budget && lstat(path, &info) == 0 && info.st_nlink == 1) budget += info.st_size;
}

static int is_watched(int fd) { return armed && fd >= 0 && fd < MAX_FD && watched[fd]; }

static int after_open(long number, int fd, int existed, const char *path) {
    if (fd >= 0 && fd < MAX_FD) watched[fd] = 1, failed[fd] = 0;
    if (fd >= 0) note_path(number, existed ? "reopen" : "create", path, NULL);
    return fd;
}

static int open_below(int dir, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    struct stat info;
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    if (!is_below(dir, path, full)) {
        int fd = syscall(SYS_openat, dir, path, flags, mode);
        if (fd >= 0 && fd < MAX_FD) watched[fd] = 0;
        return fd;
    }
    pthread_mutex_lock(&mutex);
    int existed = lstat(full, &info) == 0;
    /* Opening a file for appending, or a file for locking, changes nothing. */
    int changes = writes && (!existed || (flags & O_TRUNC));
    long number = changes ? begin(-1, NULL, 0) : 0;
    if (changes && existed && budget) budget += info.st_size;
    int fd = syscall(SYS_openat, dir, path, flags, mode);
    int error = errno;
    if (changes) after_open(number, fd, existed, full);
    /* Read-only descriptors are watched for their fsync. */
    if (fd >= 0 && fd < MAX_FD) watched[fd] = 1, failed[fd] = 0;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return fd;
}

#define OPEN_MODE(flags, mode)                        \
    mode_t mode = 0;                                  \
    if ((flags) & (O_CREAT | O_TMPFILE)) {            \
        va_list list;                                 \
        va_start(list, flags);                        \
        mode = va_arg(list, mode_t);                  \
        va_end(list);                                 \
    }

int open(const char *path, int flags, ...) {
    OPEN_MODE(flags, mode)
    return open_below(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    OPEN_MODE(flags, mode)
    return open_below(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...) {
    OPEN_MODE(flags, mode)
    return open_below(dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...) {
    OPEN_MODE(flags, mode)
    return open_below(dir, path, flags, mode);
}

int creat(const char *path, mode_t mode) {
    return open_below(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

static FILE *fopen_below(const char *path, const char *mode) {
    char full[PATH_MAX];
    if (!is_below(AT_FDCWD, path, full)) {
        FILE *file = REAL(fopen64)(path, mode);
        if (file && fileno(file) < MAX_FD) watched[fileno(file)] = 0;
        return file;
    }
    int flags = strchr(mode, '+') ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;
    if (*mode == 'w') flags |= O_CREAT | O_TRUNC;
    if (*mode == 'a') flags |= O_CREAT | O_APPEND;
    int fd = open_below(AT_FDCWD, path, flags | O_CLOEXEC, 0666);
    return fd < 0 ? NULL : fdopen(fd, mode);
}

FILE *fopen(const char *path, const char *mode) { return fopen_below(path, mode); }
FILE *fopen64(const char *path, const char *mode) { return fopen_below(path, mode); }

ssize_t write(int fd, const void *data, size_t size) {
    if (!is_watched(fd)) return syscall(SYS_write, fd, data, size);
    pthread_mutex_lock(&mutex);
    long number = begin(fd, data, size);
    size_t fits = take(size);
    ssize_t done = fits || !size ? syscall(SYS_write, fd, data, fits) : (errno = ENOSPC, -1);
    int error = errno;
    note_fd(number, "write", fd);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    if (!is_watched(fd)) return syscall(SYS_pwrite64, fd, data, size, offset);
    pthread_mutex_lock(&mutex);
    long number = begin(-1, NULL, 0);
    size_t fits = take(size);
    ssize_t done =
        fits || !size ? syscall(SYS_pwrite64, fd, data, fits, offset) : (errno = ENOSPC, -1);
    int error = errno;
    note_fd(number, "write", fd);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return pwrite64(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!is_watched(fd)) return syscall(SYS_writev, fd, parts, count);
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (done < 0) return total ? total : done;
        total += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return total;
}

/* The C library buffers small writes: their failure shows when they are flushed. */
size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    int fd = fileno(file);
    if (!is_watched(fd)) return REAL(fwrite)(data, size, count, file);
    pthread_mutex_lock(&mutex);
    size_t bytes = size * count;
    long number = begin(fd, data, bytes);
    size_t result = count;
    if (failed[fd] || take(bytes) < bytes) {
        failed[fd] = 1;
        if (bytes >= BUFSIZ) errno = ENOSPC, result = 0;
    } else {
        result = REAL(fwrite)(data, size, count, file);
    }
    int error = errno;
    note_fd(number, "write", fd);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}

int fflush(FILE *file) {
    if (file && is_watched(fileno(file))) {
        pthread_mutex_lock(&mutex);
        begin(-1, NULL, 0);
        pthread_mutex_unlock(&mutex);
        if (failed[fileno(file)]) return errno = ENOSPC, EOF;
    }
    return REAL(fflush)(file);
}

int fclose(FILE *file) {
    int fd = fileno(file), lost = 0;
    if (is_watched(fd)) {
        pthread_mutex_lock(&mutex);
        begin(-1, NULL, 0);
        lost = failed[fd];
        watched[fd] = failed[fd] = 0;
        pthread_mutex_unlock(&mutex);
    }
    int done = REAL(fclose)(file);
    return lost ? (errno = ENOSPC, EOF) : done;
}

int close(int fd) {
    if (fd >= 0 && fd < MAX_FD) watched[fd] = 0;
    return syscall(SYS_close, fd);
}

static int sync_fd(int fd, int call) {
    if (!is_watched(fd)) return syscall(call, fd);
    pthread_mutex_lock(&mutex);
    long number = begin(-1, NULL, 0);
    int done = failed[fd] ? (errno = ENOSPC, -1) : 0; /* No need for the real one. */
    if (!done) note_fd(number, "sync", fd);
    pthread_mutex_unlock(&mutex);
    return done;
}

int fsync(int fd) { return sync_fd(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_fd(fd, SYS_fdatasync); }

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    char source[PATH_MAX], target[PATH_MAX];
    int below = is_below(from_dir, from, source);
    if (!(is_below(to_dir, to, target) || below))
        return syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    pthread_mutex_lock(&mutex);
    long number = begin(-1, NULL, 0);
    if (!flags) bury(number, target), give_back(target);
    int done = syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    int error = errno;
    if (!done) note_path(number, flags ? "exchange" : "rename", source, target);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return done;
}

int rename(const char *from, const char *to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    return renameat2(from_dir, from, to_dir, to, 0);
}

int unlinkat(int dir, const char *path, int flags) {
    char full[PATH_MAX];
    if (!is_below(dir, path, full)) return syscall(SYS_unlinkat, dir, path, flags);
    pthread_mutex_lock(&mutex);
    long number = begin(-1, NULL, 0);
    if (!(flags & AT_REMOVEDIR)) bury(number, full), give_back(full);
    int done = syscall(SYS_unlinkat, dir, path, flags);
    int error = errno;
    if (!done) note_path(number, flags & AT_REMOVEDIR ? "rmdir" : "unlink", full, NULL);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return done;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int remove(const char *path) {
    int done = unlink(path);
    return done && (errno == EISDIR || errno == EPERM) ? rmdir(path) : done;
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    char full[PATH_MAX];
    if (!is_below(to_dir, to, full))
        return syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    pthread_mutex_lock(&mutex);
    long number = begin(-1, NULL, 0);
    int done = syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    int error = errno;
    if (!done) note_path(number, "create", full, NULL);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return done;
}

int link(const char *from, const char *to) {
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int mkdirat(int dir, const char *path, mode_t mode) {
    char full[PATH_MAX];
    if (!is_below(dir, path, full)) return syscall(SYS_mkdirat, dir, path, mode);
    pthread_mutex_lock(&mutex);
    long number = begin(-1, NULL, 0);
    int done = syscall(SYS_mkdirat, dir, path, mode);
    int error = errno;
    if (!done) note_path(number, "mkdir", full, NULL);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return done;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int ftruncate64(int fd, off64_t size) {
    if (!is_watched(fd)) return syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&mutex);
    long number = begin(-1, NULL, 0);
    int done = syscall(SYS_ftruncate, fd, size);
    note_fd(number, "write", fd);
    pthread_mutex_unlock(&mutex);
    return done;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

ssize_t sendfile64(int to, int from, off64_t *offset, size_t size) {
    if (!is_watched(to)) return syscall(SYS_sendfile, to, from, offset, size);
    pthread_mutex_lock(&mutex);
    long number = begin(-1, NULL, 0);
    size_t fits = take(size);
    ssize_t done =
        fits || !size ? syscall(SYS_sendfile, to, from, offset, fits) : (errno = ENOSPC, -1);
    int error = errno;
    note_fd(number, "write", to);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return done;
}

ssize_t sendfile(int to, int from, off_t *offset, size_t size) {
    return sendfile64(to, from, offset, size);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t size,
                        unsigned flags) {
    if (!is_watched(to))
        return syscall(SYS_copy_file_range, from, from_at, to, to_at, size, flags);
    return errno = ENOSYS, -1; /* The caller copies by other means. */
}
