//! The hash of an index.

/// MurmurHash3 (x86, 32 bit) of the four little-endian bytes of `key`. The algorithm is Austin Appleby's, in the public domain.
///
/// ```
/// assert_eq!(distributed::dragonn::murmur3(0, 43), 343_843_178);
/// ```
#[inline(always)]
pub fn murmur3(key: u32, seed: u32) -> u32 {
    let k = key.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut h = (seed ^ k).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    h ^= 4; // the length in bytes
    h = (h ^ h >> 16).wrapping_mul(0x85eb_ca6b);
    h = (h ^ h >> 13).wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}
