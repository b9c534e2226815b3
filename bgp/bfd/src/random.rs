//! Numbers nobody can guess who does not know the seed; the same for the same seed.

use std::num::NonZeroU32;

/// SplitMix64. For discriminators and jitter, which are to be unequal, not secret.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A discriminator to try: 32 bits, never zero (RFC 5880, 6.8.1).
    pub(crate) fn discriminator(&mut self) -> NonZeroU32 {
        loop {
            let [a, b, c, d, ..] = self.next().to_be_bytes();
            if let Some(discriminator) = NonZeroU32::new(u32::from_be_bytes([a, b, c, d])) {
                return discriminator;
            }
        }
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        let span = most.saturating_sub(least).saturating_add(1);
        least + self.next() % span
    }
}
