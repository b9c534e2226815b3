//! A set of small numbers: what a slow reader costs per destination.

/// A growing bit set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    ones: u32,
    /// No bit is set in a word before this one.
    first: usize,
}

impl Bits {
    pub(crate) fn is_empty(&self) -> bool {
        self.ones == 0
    }

    pub(crate) fn contains(&self, n: u32) -> bool {
        self.words
            .get(n as usize / 64)
            .is_some_and(|word| word >> (n % 64) & 1 == 1)
    }

    /// Whether it was not there before.
    pub(crate) fn insert(&mut self, n: u32) -> bool {
        let at = n as usize / 64;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let bit = 1 << (n % 64);
        let new = self.words[at] & bit == 0;
        if new {
            self.words[at] |= bit;
            self.ones += 1;
            self.first = self.first.min(at);
        }
        new
    }

    /// Takes the least member out.
    pub(crate) fn pop_first(&mut self) -> Option<u32> {
        if self.ones == 0 {
            return None;
        }
        while self.words[self.first] == 0 {
            self.first += 1;
        }
        let bit = self.words[self.first].trailing_zeros();
        self.words[self.first] &= !(1 << bit);
        self.ones -= 1;
        let number = u32::try_from(self.first * 64).expect("members are u32") + bit;
        if self.ones == 0 {
            *self = Self::default();
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_out_once_and_in_order() {
        let mut bits = Bits::default();
        for n in [700, 3, 64, 63, 3, 0] {
            bits.insert(n);
        }
        assert!(bits.contains(64) && !bits.contains(65));
        let taken: Vec<u32> = std::iter::from_fn(|| bits.pop_first()).collect();
        assert_eq!(taken, [0, 3, 63, 64, 700]);
        assert!(bits.is_empty());
        bits.insert(5);
        bits.insert(1);
        assert_eq!(bits.pop_first(), Some(1));
    }
}
