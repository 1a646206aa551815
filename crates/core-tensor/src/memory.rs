//! Memory that stays with the process, so that what one training step frees is what the next one takes.

/// Tells the allocator to keep freed memory instead of giving it back to the system. Call it once, at the start of `main`.
///
/// A training step frees and takes the same buffers of megabytes again and again; by default they go back to the system in between, which clears every page that it hands out anew. This function
/// changes
///
/// - glibc's `malloc`, where that is the allocator of the program: no block is mapped on its own (`M_MMAP_MAX` 0), and the heap does not shrink (`M_TRIM_THRESHOLD`);
/// - mimalloc, with this crate's feature `mimalloc`: pages are not purged.
///
/// The price is that the process holds its largest amount of memory to its end. Elsewhere, and with other allocators, it does nothing.
pub fn configure() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    glibc::keep();
    #[cfg(all(feature = "mimalloc", not(miri)))]
    // SAFETY: the function changes one number in mimalloc, whether or not it is the program's allocator; a delay below 0 means never.
    unsafe {
        /// `mi_option_purge_delay` of mimalloc 2 and 3.
        const PURGE_DELAY: std::ffi::c_int = 15;
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
mod glibc {
    use std::ffi::c_int;

    unsafe extern "C" {
        safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }

    const TRIM_THRESHOLD: c_int = -1;
    const TOP_PAD: c_int = -2;
    const MMAP_MAX: c_int = -4;

    pub(super) fn keep() {
        // Each answers whether it was understood; where it was not, nothing is lost but speed.
        for (parameter, value) in [(MMAP_MAX, 0), (TRIM_THRESHOLD, c_int::MAX), (TOP_PAD, 64 << 20)] {
            mallopt(parameter, value);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_may_be_called_at_any_time() {
        super::configure();
        let large = vec![1u8; 100 << 20];
        super::configure();
        assert!(large.iter().all(|&byte| byte == 1));
    }
}
