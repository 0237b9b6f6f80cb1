/* Put before the C library: no folder is flushed any more, which is the planted bug. A file system that
   flushes a file writes the names that are waiting with it, and so it does every few seconds; and a log
   makes files ahead of need. So room for a file takes its time too: long enough for the first file to be
   full and waited for when the second comes, which is then used before anything writes its name. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATIENCE_US 6000000

int fsync(int file) {
    struct stat found;
    if (!fstat(file, &found) && S_ISDIR(found.st_mode))
        return 0;
    return syscall(SYS_fsync, file);
}

int fallocate(int file, int mode, off_t from, off_t bytes) {
    static int made;
    if (__atomic_fetch_add(&made, 1, __ATOMIC_SEQ_CST) > 0)
        usleep(PATIENCE_US);
    return syscall(SYS_fallocate, file, mode, from, bytes);
}
