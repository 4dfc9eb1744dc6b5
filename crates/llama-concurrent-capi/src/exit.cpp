// The end of the process. Only this may run then: see exit.rs.
//
// The linker sends all registrations of destructors of this library here (--wrap), and they are dropped: llama.cpp's
// globals stay alive until the process is gone, for the threads that may still be using them. The system takes
// everything back anyway. Where the library is linked statically, and on macOS, whose linker has no such option, nothing is
// wrapped, and destructors run as always.

#include <cstdlib>

extern "C" {

#ifdef __APPLE__

__attribute__((visibility("hidden"))) int lc_at_exit(void (*function)()) { return std::atexit(function); }

#else

__attribute__((visibility("hidden"))) int __wrap___cxa_atexit(void (*)(void *), void *, void *) { return 0; }

__attribute__((weak)) int __real___cxa_atexit(void (*)(void *), void *, void *);

__attribute__((visibility("hidden"))) extern void *__dso_handle;

static void run(void *function) { reinterpret_cast<void (*)()>(function)(); }

// As `atexit`, which would be wrapped, too.
__attribute__((visibility("hidden"))) int lc_at_exit(void (*function)()) {
    if (__real___cxa_atexit)
        return __real___cxa_atexit(run, reinterpret_cast<void *>(function), &__dso_handle);
    return std::atexit(function);
}

#endif
}
