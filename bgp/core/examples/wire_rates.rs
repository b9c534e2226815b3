//! How fast the codec is: nanoseconds per UPDATE and per prefix, on a synthetic table shaped like
//! the real ones (prefixes per set of attributes, path lengths, communities), and, with `-`, on
//! BGP messages read from standard input.
//!
//! ```text
//! cargo run --release -p wayleave-bgp-core --example wire_rates
//! cargo run --release -p wayleave-bgp-core --example wire_rates -- - two-octet ibgp <messages
//! ```

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and prints"
)]

use std::{
    collections::BTreeMap,
    hint::black_box,
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::ExitCode,
    time::Instant,
};

use wayleave_bgp_core::{
    Asn, Community, Family, Ipv4Prefix, Ipv6Prefix, LargeCommunity, Prefix,
    attributes::{AsSegment, Attributes, NextHop},
    wire::{
        DecodeContext, Egress, MAX_EXTENDED, MAX_MESSAGE, MessageKind, Nlri4, Nlri6, RawUpdate,
        egress_attributes, encode_canonical, frame, pack_reach_mp, pack_reach4, pack_withdraw4,
        parse_attributes,
    },
};

/// Sets of attributes in the synthetic table.
const SETS: usize = 40_000;
/// Each figure is the best of this many runs.
const RUNS: usize = 7;

const NEXT_HOP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NEXT_HOP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        None => {
            synthetic();
            ExitCode::SUCCESS
        }
        Some("-") => {
            let options: Vec<String> = arguments.collect();
            let has = |option: &str| options.iter().any(|given| given == option);
            let (as4, ebgp) = (!has("two-octet"), !has("ibgp"));
            let mut messages = Vec::new();
            match io::stdin().read_to_end(&mut messages) {
                Ok(_) => {
                    decode("standard input", &messages, DecodeContext { as4, ebgp });
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    println!("standard input cannot be read: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        Some(other) => {
            println!("`{other}` is not understood: expected nothing, or `-` to read messages");
            ExitCode::FAILURE
        }
    }
}

fn synthetic() {
    let mut random = Random(0x5EED_0000_0BAD_CAFE);
    let table: Vec<(Attributes, Vec<Ipv4Prefix>)> = (0..SETS)
        .map(|_| (attributes(&mut random), prefixes(&mut random)))
        .collect();
    let canonical: Vec<Vec<u8>> = table
        .iter()
        .map(|(attributes, _)| {
            let mut out = Vec::new();
            encode_canonical(attributes, &mut out);
            out
        })
        .collect();
    let count: usize = table.iter().map(|(_, prefixes)| prefixes.len()).sum();
    let mean = canonical.iter().map(Vec::len).sum::<usize>() / SETS;
    println!("{SETS} sets of attributes of {mean} octets, {count} prefixes");

    let egress = Egress {
        as4: true,
        prepend: Some(Asn(64_512)),
        strip_reflection: true,
        ..Egress::default()
    };
    let mut sets4 = Vec::new();
    rate("egress_attributes, eBGP", SETS, "set", || {
        sets4.clear();
        for set in &canonical {
            let mut out = Vec::with_capacity(set.len() + 16);
            egress_attributes(set, Some(NEXT_HOP4), &egress, &mut out);
            sets4.push(out);
        }
    });
    let mut messages = Vec::new();
    rate("pack_reach4", count, "prefix", || {
        messages.clear();
        for ((_, prefixes), attrs) in table.iter().zip(&sets4) {
            let prefixes = prefixes.iter().map(|prefix| (*prefix, None));
            pack_reach4(&mut messages, attrs, prefixes, MAX_MESSAGE).expect("small attributes");
        }
    });
    decode(
        "IPv4, four-octet AS numbers, eBGP",
        &messages,
        DecodeContext {
            as4: true,
            ebgp: true,
        },
    );

    let all: Vec<Ipv4Prefix> = table
        .iter()
        .flat_map(|(_, prefixes)| prefixes)
        .copied()
        .collect();
    let mut withdrawals = Vec::new();
    rate("pack_withdraw4", count, "prefix", || {
        withdrawals.clear();
        let prefixes = all.iter().map(|prefix| (*prefix, None));
        black_box(pack_withdraw4(&mut withdrawals, prefixes, MAX_MESSAGE));
    });
    decode(
        "IPv4 withdrawals",
        &withdrawals,
        DecodeContext {
            as4: true,
            ebgp: true,
        },
    );

    let old = Egress {
        as4: false,
        ..egress
    };
    let mut messages = Vec::new();
    for ((_, prefixes), set) in table.iter().zip(&canonical) {
        let mut attrs = Vec::new();
        egress_attributes(set, Some(NEXT_HOP4), &old, &mut attrs);
        let prefixes = prefixes.iter().map(|prefix| (*prefix, None));
        pack_reach4(&mut messages, &attrs, prefixes, MAX_MESSAGE).expect("small attributes");
    }
    decode(
        "IPv4, two-octet AS numbers, eBGP",
        &messages,
        DecodeContext {
            as4: false,
            ebgp: true,
        },
    );

    let mut sets6 = Vec::new();
    for set in &canonical {
        let mut out = Vec::new();
        egress_attributes(set, None, &egress, &mut out);
        sets6.push(out);
    }
    let next_hop = NextHop::from(IpAddr::V6(NEXT_HOP6));
    let mut messages = Vec::new();
    rate("pack_reach_mp, IPv6", count, "prefix", || {
        messages.clear();
        for ((_, prefixes), attrs) in table.iter().zip(&sets6) {
            let prefixes = prefixes
                .iter()
                .map(|prefix| (Prefix::V6(mapped(*prefix)), None));
            let family = Family::Ipv6Unicast;
            pack_reach_mp(
                &mut messages,
                attrs,
                family,
                &next_hop,
                prefixes,
                MAX_MESSAGE,
            )
            .expect("small attributes");
        }
    });
    decode(
        "IPv6, four-octet AS numbers, eBGP",
        &messages,
        DecodeContext {
            as4: true,
            ebgp: true,
        },
    );
}

/// Decodes messages as a session does, in parts and as a whole.
fn decode(what: &str, messages: &[u8], ctx: DecodeContext) {
    let mut bodies = Vec::new();
    let mut rest = messages;
    loop {
        match frame(rest, MAX_EXTENDED) {
            Ok(Some(message)) => {
                if message.kind == MessageKind::Update {
                    bodies.push(message.body);
                }
                rest = rest.get(message.len..).unwrap_or_default();
            }
            Ok(None) => break,
            Err(notification) => {
                println!("{what}: a message cannot be framed: {notification}");
                return;
            }
        }
    }
    let updates: Vec<RawUpdate<'_>> = bodies
        .iter()
        .filter_map(|body| RawUpdate::split(body).ok())
        .collect();
    let mut canonical = Vec::new();
    let (mut prefixes, mut octets) = (0, 0);
    let mut malformed = BTreeMap::<String, usize>::new();
    for update in &updates {
        let parsed = parse_attributes(
            update.attributes,
            &ctx,
            !update.nlri.is_empty(),
            &mut canonical,
        );
        if let Some(why) = parsed.malformed {
            *malformed
                .entry(format!("{}: {why}", parsed.verdict.name()))
                .or_default() += 1;
        }
        octets += update.attributes.len();
        prefixes += all_prefixes(update, &ctx, &mut canonical).0;
    }
    let per = updates.len().max(1);
    println!(
        "\n{what}: {} UPDATEs, {prefixes} prefixes, {} octets of attributes each, \
         {} not well-formed",
        updates.len(),
        octets / per,
        malformed.values().sum::<usize>(),
    );
    for (why, count) in &malformed {
        println!("  {count} x {why}");
    }
    rate("frame and split", updates.len(), "UPDATE", || {
        let mut rest = messages;
        while let Ok(Some(message)) = frame(rest, MAX_EXTENDED) {
            let _ = black_box(RawUpdate::split(message.body));
            rest = rest.get(message.len..).unwrap_or_default();
        }
    });
    rate("parse_attributes", updates.len(), "UPDATE", || {
        for update in &updates {
            let announces = !update.nlri.is_empty();
            black_box(parse_attributes(
                black_box(update.attributes),
                &ctx,
                announces,
                &mut canonical,
            ));
        }
    });
    let v6: Vec<&[u8]> = updates
        .iter()
        .filter_map(|update| parse_attributes(update.attributes, &ctx, false, &mut canonical).reach)
        .map(|reach| reach.nlri)
        .collect();
    rate("prefixes", prefixes, "prefix", || {
        for update in &updates {
            for field in [update.withdrawn, update.nlri] {
                black_box(sum4(black_box(field)));
            }
        }
        for field in &v6 {
            black_box(sum6(black_box(field)));
        }
    });
    rate("all of it", updates.len(), "UPDATE", || {
        let mut rest = messages;
        while let Ok(Some(message)) = frame(rest, MAX_EXTENDED) {
            if let Ok(update) = RawUpdate::split(message.body) {
                black_box(all_prefixes(&update, &ctx, &mut canonical));
            }
            rest = rest.get(message.len..).unwrap_or_default();
        }
    });
}

fn all_prefixes(
    update: &RawUpdate<'_>,
    ctx: &DecodeContext,
    canonical: &mut Vec<u8>,
) -> (usize, u64) {
    let parsed = parse_attributes(update.attributes, ctx, !update.nlri.is_empty(), canonical);
    let mut total = (0, 0);
    for field in [update.withdrawn, update.nlri] {
        total = add(total, sum4(field));
    }
    let reach = parsed.reach.map(|reach| reach.nlri);
    let unreach = parsed.unreach.map(|unreach| unreach.nlri);
    for field in [reach, unreach].into_iter().flatten() {
        total = add(total, sum6(field));
    }
    total
}

/// How many prefixes a field has, and a number that depends on each.
fn sum4(field: &[u8]) -> (usize, u64) {
    Nlri4::new(field, false)
        .flatten()
        .map(|(prefix, _)| (1, u64::from(prefix.bits()) + u64::from(prefix.len())))
        .fold((0, 0), add)
}

fn sum6(field: &[u8]) -> (usize, u64) {
    Nlri6::new(field, false)
        .flatten()
        .map(|(prefix, _)| (1, (prefix.bits() >> 64) as u64 + u64::from(prefix.len())))
        .fold((0, 0), add)
}

fn add((count, sum): (usize, u64), (more, bits): (usize, u64)) -> (usize, u64) {
    (count + more, sum ^ bits)
}

fn rate(what: &str, count: usize, unit: &str, mut run: impl FnMut()) {
    run();
    let best = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    let nanos = best.as_secs_f64() * 1e9 / count.max(1) as f64;
    println!("  {what:<26} {nanos:8.1} ns per {unit}");
}

/// A path of 2 to 8 hops, up to 4 communities, now and then the rarer attributes.
fn attributes(random: &mut Random) -> Attributes {
    let hops = 2 + random.below(3) + random.below(4);
    let asns = (0..hops)
        .map(|_| Asn(random.below(4_000_000) + 1))
        .collect();
    let mut attributes = Attributes {
        as_path: vec![AsSegment::Sequence(asns)],
        ..Attributes::default()
    };
    for _ in 0..random.below(5) {
        attributes
            .communities
            .push(Community(random.below(u32::MAX)));
    }
    if random.below(4) == 0 {
        attributes.med = Some(random.below(1_000));
    }
    if random.below(8) == 0 {
        let mut large = || random.below(4_000_000);
        let (global, local1, local2) = (large(), large(), large());
        attributes.large_communities.push(LargeCommunity {
            global,
            local1,
            local2,
        });
    }
    attributes
}

/// One or two prefixes mostly, seldom sixty; more than half of them /24.
fn prefixes(random: &mut Random) -> Vec<Ipv4Prefix> {
    let count = match random.below(100) {
        0..50 => 1,
        50..80 => 2 + random.below(4),
        80..95 => 6 + random.below(12),
        _ => 20 + random.below(44),
    };
    (0..count)
        .map(|_| {
            let len = if random.below(100) < 56 {
                24
            } else {
                12 + random.below(12)
            };
            Ipv4Prefix::from_bits(0x0100_0000 + random.below(0xDE00_0000), len as u8)
        })
        .collect()
}

/// The IPv6 prefix that stands for an IPv4 one: the same bits behind 2001::/16.
fn mapped(prefix: Ipv4Prefix) -> Ipv6Prefix {
    let bits = 0x2001_u128 << 112 | u128::from(prefix.bits()) << 80;
    Ipv6Prefix::from_bits(bits, prefix.len() + 16)
}

/// xorshift64*: enough for a table that is the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        ((high * u64::from(bound)) >> 32) as u32
    }
}
