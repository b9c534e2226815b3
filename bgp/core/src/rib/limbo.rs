//! Destinations that have lost their paths and may still be named by a log, in the order of turns.

use std::collections::VecDeque;

/// Four octets a destination: a reader that is dead may keep a whole table here.
#[derive(Debug, Default)]
pub(crate) struct Limbo {
    dests: VecDeque<u32>,
    /// How many of them, one after the other, entered in which turn.
    runs: VecDeque<(u64, usize)>,
}

impl Limbo {
    /// Adds one at the end. Turns do not go back; if one did, its destination would leave with the
    /// later ones.
    pub(crate) fn push(&mut self, dest: u32, turn: u64) {
        self.dests.push_back(dest);
        match self.runs.back_mut() {
            Some((last, count)) if *last >= turn => *count += 1,
            _ => self.runs.push_back((turn, 1)),
        }
    }

    /// Takes the first one out, if it entered before that turn.
    pub(crate) fn pop_before(&mut self, turn: u64) -> Option<u32> {
        let (entered, count) = self.runs.front_mut()?;
        if *entered >= turn {
            return None;
        }
        *count -= 1;
        if *count == 0 {
            self.runs.pop_front();
        }
        self.dests.pop_front()
    }

    /// Whether the first one entered before that turn.
    pub(crate) fn is_due(&self, turn: u64) -> bool {
        self.runs
            .front()
            .is_some_and(|(entered, _)| *entered < turn)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.dests.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_leave_in_order_and_none_before_its_turn_is_over() {
        let mut limbo = Limbo::default();
        for (dest, turn) in [(5, 1), (3, 1), (9, 4), (1, 3)] {
            limbo.push(dest, turn);
        }
        assert_eq!(limbo.iter().collect::<Vec<_>>(), [5, 3, 9, 1]);
        assert!(!limbo.is_due(1) && limbo.is_due(2));
        assert_eq!(limbo.pop_before(1), None);
        let early: Vec<_> = std::iter::from_fn(|| limbo.pop_before(4)).collect();
        assert_eq!(early, [5, 3]);
        let late: Vec<_> = std::iter::from_fn(|| limbo.pop_before(5)).collect();
        assert_eq!(late, [9, 1]);
        assert!(!limbo.is_due(u64::MAX));
    }
}
