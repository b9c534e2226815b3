//! One change at a time: how long until the other peer reads it?

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use crate::{
    check::Fault,
    decode::{Attributes, Malformed, Update, message_at},
    encode::{self, Attribute, as_sequence, attr, kind},
    fabric::peer_address,
    lifecycle::{NEIGHBOUR_AS, Sampling},
    prefix::{Family, Prefix},
    record::{Recording, closing},
    session::Session,
};

/// Quantiles of what was sampled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) samples: usize,
}

/// Between a change seen and the next one: the daemon goes back to waiting.
pub(crate) const PAUSE: Duration = Duration::from_millis(1);
/// A change that takes longer is lost.
const LOST: Duration = Duration::from_secs(10);

/// Announces a prefix outside the table again and again, each time with another community, and
/// waits for exactly that one at the sink; withdraws it at the end.
pub(crate) fn sample(
    source: &mut Session,
    sink: &mut Session,
    family: Family,
    sampling: Sampling,
) -> Result<Latency, Fault> {
    let prefix = probe(family);
    sink.stream
        .set_read_timeout(Some(LOST))
        .map_err(Fault::Session)?;
    let begun = Instant::now();
    let mut taken = Vec::with_capacity(sampling.samples);
    let mut recording = Recording::with_room(sampling.samples * 128);
    let mut at = 0;
    while taken.len() < sampling.samples && begun.elapsed() < sampling.budget {
        let tag = (NEIGHBOUR_AS << 16) | (taken.len() as u32 & 0xffff);
        let change = announcement(family, tag)?;
        std::thread::sleep(PAUSE);
        let sent = Instant::now();
        source.send(&change).map_err(Fault::Session)?;
        let seen = await_update(sink, &mut recording, &mut at, |update| {
            carries(update, prefix, tag)
        })?;
        taken.push(seen.duration_since(sent));
    }
    let mut change = Vec::new();
    encode::withdraw(family, &[prefix], &mut change);
    source.send(&change).map_err(Fault::Session)?;
    await_update(sink, &mut recording, &mut at, |update| {
        Ok(update.withdrawn.prefixes().any(|p| p == Ok(prefix)))
    })?;
    Ok(Latency::of(taken))
}

impl Latency {
    /// Quantiles of at least one sample.
    pub(crate) fn of(mut taken: Vec<Duration>) -> Self {
        taken.sort_unstable();
        let last = taken.len().saturating_sub(1);
        let quantile = |q: f64| taken.get((last as f64 * q).round() as usize).copied();
        Self {
            p50: quantile(0.5).unwrap_or_default(),
            p99: quantile(0.99).unwrap_or_default(),
            samples: taken.len(),
        }
    }
}

/// The prefix that changes, outside every table.
pub(crate) fn probe(family: Family) -> Prefix {
    match family {
        Family::Ipv4 => Prefix::v4(Ipv4Addr::new(192, 0, 2, 0), 24),
        Family::Ipv6 => Prefix::v6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 48),
    }
}

/// An announcement of the probe, told from others by a community.
pub(crate) fn announcement(family: Family, tag: u32) -> Result<Vec<u8>, Malformed> {
    let attributes = [
        Attribute::new(attr::WELL_KNOWN, attr::ORIGIN, vec![0]),
        Attribute::new(
            attr::WELL_KNOWN,
            attr::AS_PATH,
            as_sequence(&[NEIGHBOUR_AS]),
        ),
        Attribute::new(
            attr::OPTIONAL_TRANSITIVE,
            attr::COMMUNITIES,
            tag.to_be_bytes().into(),
        ),
    ];
    let mut change = Vec::with_capacity(128);
    encode::announce(
        &attributes,
        peer_address(family, 0),
        &[probe(family)],
        &mut change,
    )
    .map_err(|_| Malformed("the probe does not fit a message"))?;
    Ok(change)
}

/// Reads until an UPDATE answers to `wanted`; when that was read.
fn await_update(
    sink: &mut Session,
    recording: &mut Recording,
    at: &mut usize,
    wanted: impl Fn(&Update<'_>) -> Result<bool, Malformed>,
) -> Result<Instant, Fault> {
    loop {
        while let Some(message) = message_at(recording.bytes(), *at)? {
            *at = message.end;
            if message.kind == kind::UPDATE && wanted(&Update::parse(message.body)?)? {
                return Ok(recording.time_of(message.end));
            }
        }
        match recording.take(&mut sink.stream) {
            Ok(true) => {}
            Ok(false) => {
                return Err(Fault::Lost {
                    seconds: LOST.as_secs(),
                });
            }
            Err(error) => return Err(closing(recording, error)),
        }
    }
}

fn carries(update: &Update<'_>, prefix: Prefix, tag: u32) -> Result<bool, Malformed> {
    let tag = tag.to_be_bytes();
    for attribute in Attributes(update.attributes) {
        let attribute = attribute?;
        if attribute.code == attr::COMMUNITIES && attribute.value == tag {
            return Ok(update.announced.prefixes().any(|p| p == Ok(prefix)));
        }
    }
    Ok(false)
}
