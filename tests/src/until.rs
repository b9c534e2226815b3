//! Waiting for a condition, with a deadline.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::LabError;

/// The first pause between two attempts, and the longest: they grow by half.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(200)];

/// Repeats an attempt until it succeeds. There is at least one attempt at or after the deadline,
/// so that a wait that expires has really been in vain.
pub(crate) fn until<T, E: Debug>(
    within: Duration,
    what: &str,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, LabError> {
    let start = Instant::now();
    let [mut pause, longest] = PAUSES;
    loop {
        let began = start.elapsed();
        let last = match attempt() {
            Ok(value) => return Ok(value),
            Err(why) => why,
        };
        if began >= within {
            return Err(LabError::Expired {
                waited: start.elapsed(),
                what: what.to_owned(),
                last: format!("{last:?}"),
            });
        }
        thread::sleep(pause.min(within.saturating_sub(start.elapsed())));
        pause = (pause * 3 / 2).min(longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_only_at_the_deadline_is_seen() {
        let start = Instant::now();
        let within = Duration::from_millis(50);
        let seen = until(within, "the deadline", || match start.elapsed() >= within {
            true => Ok(7),
            false => Err("not yet"),
        });
        assert_eq!(seen.expect("it came true"), 7);
    }

    #[test]
    fn a_wait_in_vain_says_what_for_and_why() {
        let expired = until(Duration::ZERO, "godot", || Err::<(), _>("he sent a boy"));
        let text = expired.expect_err("it never comes true").to_string();
        assert!(
            text.contains("for godot") && text.contains("he sent a boy"),
            "{text}"
        );
    }
}
