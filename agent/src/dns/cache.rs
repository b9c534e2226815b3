//! What upstreams said, for as long as they allow.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The longest an answer is kept, whatever its TTL: an upstream that is corrected is heard within this time.
const LONGEST: Duration = Duration::from_secs(300);

/// Larger answers are not kept; with the number of entries this bounds the memory.
const LARGEST: usize = 4_096;

/// Answers by question.
///
/// Two generations: when the young one is full it becomes the old one, whose predecessor is dropped. An entry that is
/// used moves to the young one. So the size is bounded, nothing is scanned, and what is in use stays.
#[derive(Debug)]
pub(super) struct Cache {
    young: HashMap<Box<[u8]>, Entry>,
    old: HashMap<Box<[u8]>, Entry>,
    /// Entries in one generation.
    capacity: usize,
}

#[derive(Debug)]
struct Entry {
    response: Box<[u8]>,
    /// Where the TTLs of its records stand.
    ttls: Box<[usize]>,
    stored: Instant,
    until: Instant,
}

impl Cache {
    /// A cache of about this many entries; of none, when zero.
    pub(super) fn new(entries: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            capacity: entries.div_ceil(2),
        }
    }

    /// The answer to a question, its TTLs lowered by its age.
    pub(super) fn find(&mut self, question: &[u8], now: Instant) -> Option<Vec<u8>> {
        if let Some((question, entry)) = self.old.remove_entry(question) {
            self.insert(question, entry);
        }
        let entry = self.young.get(question).filter(|entry| now < entry.until)?;
        let age = u32::try_from(now.duration_since(entry.stored).as_secs()).unwrap_or(u32::MAX);
        let mut response = entry.response.to_vec();
        for at in &entry.ttls {
            if let Some(place) = response.get_mut(*at..*at + 4)
                && let Ok(ttl) = <[u8; 4]>::try_from(&*place)
            {
                let ttl = u32::from_be_bytes(ttl).saturating_sub(age);
                place.copy_from_slice(&ttl.to_be_bytes());
            }
        }
        Some(response)
    }

    /// Keeps an answer, if it may be kept.
    pub(super) fn keep(&mut self, question: &[u8], response: &[u8], now: Instant) {
        if self.capacity == 0 || response.len() > LARGEST {
            return;
        }
        let Some((ttls, least)) = ttls(response) else {
            return;
        };
        let until = now + LONGEST.min(Duration::from_secs(u64::from(least)));
        let entry = Entry {
            response: response.into(),
            ttls: ttls.into(),
            stored: now,
            until,
        };
        self.insert(question.into(), entry);
    }

    fn insert(&mut self, question: Box<[u8]>, entry: Entry) {
        if self.young.len() >= self.capacity && !self.young.contains_key(&question) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(question, entry);
    }
}

/// The places of all TTLs in an answer, and for how long it may be kept. None when it may not be: an error, truncated,
/// malformed, or without any record.
fn ttls(response: &[u8]) -> Option<(Vec<usize>, u32)> {
    let &[_, _, flags1, flags0, ..] = response else {
        return None;
    };
    let (truncated, rcode) = (flags1 & 0x02 != 0, flags0 & 0x0f);
    // NOERROR and NXDOMAIN (RFC 2308); other codes are the trouble of a moment.
    if truncated || !matches!(rcode, 0 | 3) {
        return None;
    }
    let count = |at: usize| {
        Some(u16::from_be_bytes([
            *response.get(at)?,
            *response.get(at + 1)?,
        ]))
    };
    let (questions, mut records) = (count(4)?, 0);
    for at in [6, 8, 10] {
        records += usize::from(count(at)?);
    }
    let mut at = 12;
    for _ in 0..questions {
        at = skip_name(response, at)? + 4;
    }
    let (mut ttls, mut least) = (Vec::new(), u32::MAX);
    for _ in 0..records {
        at = skip_name(response, at)?;
        let &[kind1, kind0, _, _, t3, t2, t1, t0, length1, length0] =
            response.get(at..)?.first_chunk()?;
        let data = at + 10;
        let end = data + usize::from(u16::from_be_bytes([length1, length0]));
        match u16::from_be_bytes([kind1, kind0]) {
            // OPT: its TTL is flags (RFC 6891, section 6.1.3).
            41 => {}
            kind => {
                let mut ttl = u32::from_be_bytes([t3, t2, t1, t0]);
                if kind == 6 {
                    // RFC 2308, section 5: the lower of the SOA's TTL and its last field.
                    let minimum = response.get(end.checked_sub(4)?..end)?;
                    ttl = ttl.min(u32::from_be_bytes(minimum.try_into().ok()?));
                }
                ttls.push(at + 4);
                least = least.min(ttl);
            }
        }
        at = end;
    }
    (at <= response.len() && !ttls.is_empty() && least > 0).then_some((ttls, least))
}

/// Where a name ends. Pointers are not followed, so that this ends whatever they point at.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=0x3f => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            // Label types that were never used (RFC 6891, section 5).
            0x40..=0xbf => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to `a IN A` with one address, or with a SOA and no address.
    fn response(ttl: u32, soa_minimum: Option<u32>, rcode: u8) -> Vec<u8> {
        let mut octets = vec![0, 0, 0x81, 0x80 | rcode, 0, 1, 0, 0, 0, 0, 0, 0];
        octets[if soa_minimum.is_some() { 9 } else { 7 }] = 1;
        octets.extend([1, b'a', 0, 0, 1, 0, 1]);
        octets.extend([0xc0, 12, 0, if soa_minimum.is_some() { 6 } else { 1 }, 0, 1]);
        octets.extend(ttl.to_be_bytes());
        match soa_minimum {
            None => octets.extend([0, 4, 192, 0, 2, 1]),
            Some(minimum) => {
                octets.extend([0, 22, 0, 0]);
                octets.extend([0; 16]);
                octets.extend(minimum.to_be_bytes());
            }
        }
        octets
    }

    #[test]
    fn an_answer_is_kept_for_its_ttl_and_ages() {
        let start = Instant::now();
        let mut cache = Cache::new(10);
        cache.keep(b"q", &response(10, None, 0), start);
        let aged = cache
            .find(b"q", start + Duration::from_secs(4))
            .expect("kept");
        assert_eq!(aged, response(6, None, 0));
        assert_eq!(cache.find(b"q", start + Duration::from_secs(10)), None);
        assert_eq!(cache.find(b"other", start), None);
    }

    #[test]
    fn a_negative_answer_is_kept_as_long_as_its_soa_says() {
        let start = Instant::now();
        let mut cache = Cache::new(10);
        cache.keep(b"q", &response(100, Some(5), 3), start);
        assert!(cache.find(b"q", start + Duration::from_secs(4)).is_some());
        assert!(cache.find(b"q", start + Duration::from_secs(5)).is_none());
    }

    #[test]
    fn errors_truncated_and_damaged_answers_are_not_kept() {
        let start = Instant::now();
        let good = response(10, None, 0);
        let mut truncated = good.clone();
        truncated[2] |= 0x02;
        for (what, octets) in [
            ("SERVFAIL", response(10, None, 2)),
            ("truncated", truncated),
            ("cut off", good[..good.len() - 1].to_vec()),
            ("TTL 0", response(0, None, 0)),
            ("too large", [good.clone(), vec![0; LARGEST]].concat()),
        ] {
            let mut cache = Cache::new(10);
            cache.keep(b"q", &octets, start);
            assert_eq!(cache.find(b"q", start), None, "{what}");
        }
        for length in 0..good.len() {
            assert_eq!(ttls(&good[..length]), None, "cut after {length} octets");
        }
    }

    #[test]
    fn the_size_is_bounded_and_what_is_used_stays() {
        let start = Instant::now();
        let mut cache = Cache::new(100);
        for n in 0..10_000u32 {
            cache.keep(&n.to_be_bytes(), &response(100, None, 0), start);
            assert!(
                n < 1 || cache.find(&0u32.to_be_bytes(), start).is_some(),
                "after {n}"
            );
        }
        assert!(cache.young.len() + cache.old.len() <= 102);
        let mut none = Cache::new(0);
        none.keep(b"q", &response(100, None, 0), start);
        assert_eq!(none.find(b"q", start), None);
    }
}
