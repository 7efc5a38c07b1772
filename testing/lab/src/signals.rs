//! Ctrl-C and SIGTERM, for a program that stops its processes in order.

use std::sync::atomic::{AtomicBool, Ordering};

static STOPPING: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C, SIGTERM and a closed terminal make [`asked_to_stop`] true. A second signal ends this process at
/// once; the kernel then kills the processes it started.
pub fn catch() {
    extern "C" fn stop(_: libc::c_int) {
        if STOPPING.swap(true, Ordering::Relaxed) {
            #[expect(unsafe_code, reason = "_exit is safe in a signal handler")]
            unsafe {
                libc::_exit(130)
            }
        }
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        #[expect(unsafe_code, reason = "the standard library has no signals; the handler only sets a flag")]
        unsafe {
            libc::signal(signal, stop as *const () as libc::sighandler_t);
        }
    }
}

/// Whether a signal came since [`catch`].
#[must_use]
pub fn asked_to_stop() -> bool {
    STOPPING.load(Ordering::Relaxed)
}
