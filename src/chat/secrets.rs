//! What somebody says they know, compared with what is known.

/// Takes as long wherever the difference is.
pub(super) fn is_same(told: &[u8], secret: &[u8]) -> bool {
    told.len() == secret.len() && told.iter().zip(secret).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}
