//! Memory that is no longer used goes back to the system.

/// After work that took much memory for a while. The allocator keeps what is freed below anything that is still in use: after an
/// index run that was a gigabyte, which no program of the machine could have.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a call of the C library that may be made at any time by any thread; it takes a number and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
