//! Randomness from the kernel.

#![expect(unsafe_code, reason = "getrandom is a call of the C library")]

use std::cell::Cell;

thread_local! {
    /// Bits drawn ahead, so that a number costs no system call: 32 words, and how many are left.
    static POOL: Cell<([u64; 32], usize)> = const { Cell::new(([0; 32], 0)) };
}

/// Sixty-four random bits, fit for keys and tokens.
pub fn random() -> u64 {
    POOL.with(|pool| {
        let (mut words, mut left) = pool.get();
        if left == 0 {
            let mut bytes = [0; 256];
            random_bytes(&mut bytes);
            for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *word = u64::from_le_bytes(*chunk);
            }
            left = words.len();
        }
        left -= 1;
        // Taken out, so that a number is never given twice.
        let word = std::mem::take(&mut words[left]);
        pool.set((words, left));
        word
    })
}

/// Fills `into` with random bytes, fit for keys and tokens.
pub fn random_bytes(into: &mut [u8]) {
    let mut filled = 0;
    while filled < into.len() {
        let rest = &mut into[filled..];
        // SAFETY: pointer and length are those of a slice we hold mutably.
        let taken = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        if let Ok(taken) = usize::try_from(taken) {
            filled += taken;
        } else {
            let error = std::io::Error::last_os_error();
            assert!(
                error.kind() == std::io::ErrorKind::Interrupted,
                "no randomness: {error}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_differ() {
        let drawn: std::collections::HashSet<u64> = (0..1_000).map(|_| super::random()).collect();
        assert_eq!(drawn.len(), 1_000);
    }
}
