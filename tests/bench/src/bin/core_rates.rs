//! What a route costs in the machine alone: nanoseconds and bytes, beside the budget.
//!
//! One peer sends a synthetic table, another is sent all of it; no socket is involved. Run it
//! with `wayleave-core-rates [ROUTES [ipv6]]`; `tests/run` does with 200,000 routes.

#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark looks at the clock and the memory"
)]

use std::net::SocketAddr;

use wayleave_bgp_core::{
    Action, Asn, ConnId, ConnInfo, Family, Ipv4Prefix, Ipv6Prefix, Prefix, RouterId, Speaker, Time,
    attributes::{AsSegment, Attributes, NextHop, Origin},
    config::{PeerConfig, RemoteAs, SpeakerConfig},
    wire::{
        Capabilities, Egress, MAX_MESSAGE, Open, egress_attributes, encode_canonical, keepalive,
        pack_reach_mp, pack_reach4, pack_withdraw_mp, pack_withdraw4,
    },
};

/// Budget of the design: nanoseconds and bytes per route.
const BUDGET: (f64, f64) = (400.0, 90.0);

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 33) % bound
    }
}

/// Resident octets of this process.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm
        .split(' ')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0);
    pages * 4096.0
}

/// Nanoseconds this process has run: what else the machine does meanwhile hardly shows.
fn on_processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let text = stat.split(' ').next().unwrap_or_default();
    text.parse().unwrap_or(0.0)
}

/// UPDATEs for `count` prefixes in sets of five on average, mostly of one or two.
fn table(count: u32, family: Family) -> (Vec<u8>, Vec<Prefix>, usize) {
    let mut rng = Rng(42);
    let prefix = |n: u32| match family {
        Family::Ipv4Unicast => {
            let bits = (n + (16 << 16)) << 8;
            Ipv4Prefix::from_bits(bits, if n % 16 < 9 { 24 } else { 23 }).into()
        }
        Family::Ipv6Unicast => {
            let bits = (0x2a00 << 112) | (u128::from(n) << 80);
            Ipv6Prefix::from_bits(bits, if n % 16 < 9 { 48 } else { 47 }).into()
        }
    };
    let mut prefixes: Vec<Prefix> = (0..count).map(prefix).collect();
    prefixes.dedup();
    for at in (1..prefixes.len()).rev() {
        prefixes.swap(at, rng.below(at as u64 + 1) as usize);
    }
    let egress = Egress {
        as4: true,
        prepend: None,
        keep_local_pref: false,
        set_local_pref: None,
        keep_med: true,
        reflect: None,
        strip_reflection: false,
        only_to_customer: None,
        foreign: true,
    };
    let (mut bytes, mut canonical, mut attributes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut at, mut sets) = (0, 0);
    while at < prefixes.len() {
        let size = match rng.below(10) {
            0..=4 => 1,
            5..=6 => 2,
            7..=8 => 2 + rng.below(6),
            _ => 5 + rng.below(60),
        };
        let path = std::iter::once(65_001)
            .chain((0..3 + rng.below(4)).map(|_| 100_000 + rng.below(400_000) as u32));
        let set = Attributes {
            origin: Origin::Igp,
            as_path: vec![AsSegment::Sequence(path.map(Asn).collect())],
            communities: (0..rng.below(5))
                .map(|_| wayleave_bgp_core::Community(rng.next() as u32 >> 1))
                .collect(),
            ..Attributes::default()
        };
        canonical.clear();
        encode_canonical(&set, &mut canonical);
        attributes.clear();
        let next_hop = (family == Family::Ipv4Unicast).then(|| [192, 0, 2, 1].into());
        egress_attributes(&canonical, next_hop, &egress, &mut attributes);
        let end = prefixes.len().min(at + size as usize);
        let chunk = prefixes[at..end].iter().map(|&prefix| (prefix, None));
        match family {
            Family::Ipv4Unicast => {
                pack_reach4(&mut bytes, &attributes, only_v4(chunk), MAX_MESSAGE).unwrap();
            }
            Family::Ipv6Unicast => {
                let next_hop = NextHop::from(std::net::IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]));
                pack_reach_mp(
                    &mut bytes,
                    &attributes,
                    family,
                    &next_hop,
                    chunk,
                    MAX_MESSAGE,
                )
                .unwrap();
            }
        }
        at = end;
        sets += 1;
    }
    (bytes, prefixes, sets)
}

fn only_v4(
    prefixes: impl Iterator<Item = (Prefix, Option<u32>)>,
) -> impl Iterator<Item = (Ipv4Prefix, Option<u32>)> {
    prefixes.filter_map(|(prefix, id)| match prefix {
        Prefix::V4(prefix) => Some((prefix, id)),
        Prefix::V6(_) => None,
    })
}

fn peer(n: u8) -> PeerConfig {
    let asn = RemoteAs::Exact(Asn(65_000 + u32::from(n)));
    let mut peer = PeerConfig::new(format!("p{n}"), [192, 0, 2, n].into(), asn);
    peer.passive = true;
    peer
}

fn connect(speaker: &mut Speaker, n: u8) -> (ConnId, usize) {
    let info = ConnInfo {
        remote: SocketAddr::from(([192, 0, 2, n], 40_000)),
        local: SocketAddr::from(([192, 0, 2, 100], 179)),
        own_v4: None,
        own_v6: Some([0xfd00, 0, 0, 0, 0, 0, 0, 100].into()),
        link_local: None,
        interface: None,
        link: None,
    };
    let conn = speaker.accepted(Time(0), info).unwrap();
    let mut open = Vec::new();
    let capabilities = Capabilities {
        families: vec![(1, 1), (2, 1)],
        as4: Some(Asn(65_000 + u32::from(n))),
        ..Capabilities::default()
    };
    Open {
        asn: Asn(65_000 + u32::from(n)),
        hold_time: 0,
        router_id: RouterId::from(u32::from(n)),
        capabilities,
    }
    .encode(&mut open);
    open.extend(keepalive());
    speaker.received(Time(0), conn, &open);
    let written = drain(speaker, &[conn]);
    (conn, written)
}

/// Turns until there is nothing to do, as a driver with quick readers; returns octets written.
fn drain(speaker: &mut Speaker, conns: &[ConnId]) -> usize {
    let mut written = 0;
    loop {
        let more = speaker.turn(Time(0));
        while let Some(action) = speaker.poll_action() {
            assert!(
                !matches!(action, Action::Close { .. }),
                "a session was closed"
            );
        }
        for &conn in conns {
            loop {
                let mut slices = Vec::new();
                speaker.output(conn, 64, &mut slices);
                let count: usize = slices.iter().map(|slice| slice.len()).sum();
                if count == 0 {
                    break;
                }
                speaker.written(Time(0), conn, count);
                written += count;
            }
        }
        if !more {
            return written;
        }
    }
}

/// Hands `bytes` in as reads of 64 KiB do, turning after each.
fn feed(speaker: &mut Speaker, from: ConnId, conns: &[ConnId], bytes: &[u8]) -> usize {
    let (mut at, mut written) = (0, 0);
    while at < bytes.len() {
        let end = bytes.len().min(at + (64 << 10));
        at += speaker.received(Time(0), from, &bytes[at..end]);
        written += drain(speaker, conns);
    }
    written
}

fn main() {
    let count = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    let family = match std::env::args().nth(2).as_deref() {
        Some("ipv6") => Family::Ipv6Unicast,
        _ => Family::Ipv4Unicast,
    };
    let (announce, prefixes, sets) = table(count, family);
    let mut withdraw = Vec::new();
    let all = prefixes.iter().map(|&prefix| (prefix, None));
    match family {
        Family::Ipv4Unicast => pack_withdraw4(&mut withdraw, only_v4(all), MAX_MESSAGE),
        Family::Ipv6Unicast => pack_withdraw_mp(&mut withdraw, family, all, MAX_MESSAGE),
    };
    let routes = prefixes.len() as f64;

    let mut config = SpeakerConfig::new(RouterId::from(100), Asn(65_000));
    config.peers = vec![peer(1), peer(2), peer(3)];
    let mut speaker = Speaker::new(Time(0), config);
    let ((a, _), (b, _)) = (connect(&mut speaker, 1), connect(&mut speaker, 2));
    let before = resident();
    let measure = |what: &str, work: &mut dyn FnMut() -> usize| {
        let start = on_processor();
        let octets = work();
        let each = (on_processor() - start) / routes;
        println!("{what:<28} {each:>7.0} ns per route, {octets:>10} octets out");
        each
    };
    println!("{} routes in {sets} attribute sets", prefixes.len());
    let through = measure("in, decided, out", &mut || {
        feed(&mut speaker, a, &[a, b], &announce)
    });
    let bytes = (resident() - before) / routes;
    println!("{:<28} {bytes:>7.0} bytes per route", "memory");
    let held = |speaker: &Speaker| {
        let view = speaker.view();
        (view.ipv4_routes + view.ipv6_routes) as usize
    };
    assert_eq!(held(&speaker), prefixes.len());
    measure("the same again", &mut || {
        feed(&mut speaker, a, &[a, b], &announce)
    });
    measure("a late joiner", &mut || {
        let (c, written) = connect(&mut speaker, 3);
        written + drain(&mut speaker, &[a, b, c])
    });
    measure("all withdrawn", &mut || {
        feed(&mut speaker, a, &[a, b], &withdraw)
    });
    assert_eq!(held(&speaker), 0);
    println!(
        "core: {through:.0} ns and {bytes:.0} bytes per route of {routes} (budget {:.0} and {:.0})",
        BUDGET.0, BUDGET.1,
    );
}
