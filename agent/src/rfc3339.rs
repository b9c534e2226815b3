//! Wall time for people and machines, in UTC (RFC 3339). Only what is printed has wall time.

use std::time::{Duration, Instant, SystemTime};

/// To the second: `2026-11-24T03:35:40Z`.
pub fn seconds(time: SystemTime) -> String {
    let (date, _) = parts(time);
    format!("{date}Z")
}

/// To the millisecond: `2026-11-24T03:35:40.123Z`.
pub fn millis(time: SystemTime) -> String {
    let (date, nanos) = parts(time);
    format!("{date}.{:03}Z", nanos / 1_000_000)
}

/// To the microsecond: `2026-11-24T03:35:40.123456Z`.
pub fn micros(time: SystemTime) -> String {
    let (date, nanos) = parts(time);
    format!("{date}.{:06}Z", nanos / 1_000)
}

/// When a monotonic moment was, by today's clock.
pub fn of(moment: Instant) -> String {
    ago(moment.elapsed())
}

/// When it was this long ago.
pub fn ago(elapsed: Duration) -> String {
    seconds(
        SystemTime::now()
            .checked_sub(elapsed)
            .unwrap_or(SystemTime::UNIX_EPOCH),
    )
}

/// Date and time to the second, and the nanoseconds after it. Before 1970 counts as 1970.
fn parts(time: SystemTime) -> (String, u32) {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let date = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    (date, since.subsec_nanos())
}

/// Year, month and day of a day counted from 1970-01-01, by the Gregorian calendar. Years are
/// counted from March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097; // days in 400 years
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / ERA, days % ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153; // 0: March
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_print_as_the_calendar_has_them() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_795_491_340, "2026-11-24T03:35:40Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (unix, text) in table {
            assert_eq!(
                seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(unix)),
                text
            );
        }
    }
}
