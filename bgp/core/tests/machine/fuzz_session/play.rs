//! What each step does to the world.

use std::time::Duration;

use wayleave_bgp_core::{
    Asn, Community, Family, LargeCommunity, Prefix, RouterId,
    attributes::{AsSegment, Attributes, NextHop, UnknownAttribute},
    config::{NextHopSelf, Policy},
    feed::Origination,
    wire::{
        Capabilities, Egress, GracefulRestart, MAX_MESSAGE, Open, RouteRefresh, egress_attributes,
        encode_canonical, end_of_rib, pack_reach_mp, pack_reach4, pack_withdraw_mp,
    },
};

use super::{
    step::{PEERS, STRANGER, Step},
    world::{OWN_AS, World, asn, base, info, is_external, name},
};

/// What a [`Step::Wait`] waits, in milliseconds.
const TIMES: [u64; 12] = [
    1, 50, 400, 1_000, 2_500, 5_000, 12_000, 31_000, 65_000, 130_000, 250_000, 500_000,
];

/// A well-formed OPEN: `variant` says what it offers.
pub(crate) fn open(peer: usize, variant: u8) -> Vec<u8> {
    let has = |bit: u8| variant & (1 << bit) != 0;
    let (v4, v6) = (Family::Ipv4Unicast.code(), Family::Ipv6Unicast.code());
    let number = Asn(if has(6) { 64_999 } else { asn(peer) });
    let capabilities = Capabilities {
        families: [vec![v4, v6], vec![v4], vec![v6], vec![]][usize::from(variant >> 3 & 3)].clone(),
        route_refresh: !has(1),
        as4: (!has(0)).then_some(number),
        graceful_restart: (!has(2)).then(GracefulRestart::default),
        ..Capabilities::default()
    };
    let id = u32::try_from(peer).unwrap_or(0) + 1;
    let open = Open {
        asn: number,
        hold_time: if has(5) { 0 } else { 30 },
        router_id: RouterId::from(if has(7) { id } else { 0x0b00_0000 | id }),
        capabilities,
    };
    let mut out = Vec::new();
    open.encode(&mut out);
    out
}

/// The prefixes that are announced, by number; peers and we share them.
fn prefix(number: u8, v6: bool) -> Prefix {
    let text = if v6 {
        format!("2001:db8:{number:x}::/48")
    } else {
        format!("10.0.{number}.0/24")
    };
    text.parse().expect("well-formed")
}

fn prefixes(first: u8, count: u8, v6: bool) -> impl Iterator<Item = Prefix> {
    (0..=count % 32).map(move |number| prefix(first.wrapping_add(number) % 64, v6))
}

/// The UPDATEs by which a peer announces prefixes.
pub(crate) fn announcement(
    peer: usize,
    as4: bool,
    prefixes: impl Iterator<Item = Prefix>,
    v6: bool,
    shape: u8,
) -> Vec<u8> {
    let external = is_external(peer);
    let hops = [0, 1, 3, 255][usize::from(shape >> 1 & 3)];
    let mut path: Vec<Asn> = external.then(|| Asn(asn(peer))).into_iter().collect();
    path.extend((0..hops).map(|hop| Asn(64_512 + hop)));
    path.truncate(255);
    // So much that the route hardly fits a message, and does not any more when we add to it.
    let most = if v6 { 3_980 } else { 4_030 };
    let padding = [0, 40, 1_500, most][usize::from(shape >> 3 & 3)] / if hops > 9 { 2 } else { 1 };
    let attributes = Attributes {
        as_path: vec![AsSegment::Sequence(path)],
        med: (shape & 0x20 != 0).then_some(7),
        local_pref: (!external).then_some(100 + u32::from(shape & 0x20)),
        communities: match shape >> 6 {
            1 => vec![Community(0xFFFF_FF01)],
            2 => vec![Community(0xFFFF_FF02), Community(7)],
            _ => Vec::new(),
        },
        large_communities: (shape >> 6 == 3)
            .then_some(LargeCommunity {
                global: 4_200_000_001,
                local1: 1,
                local2: 0,
            })
            .into_iter()
            .collect(),
        unknown: (padding > 0)
            .then(|| UnknownAttribute {
                code: 99,
                flags: 0xC0,
                value: vec![7; padding],
            })
            .into_iter()
            .collect(),
        ..Attributes::default()
    };
    let mut canonical = Vec::new();
    encode_canonical(&attributes, &mut canonical);
    let egress = Egress {
        as4,
        keep_local_pref: true,
        keep_med: true,
        ..Egress::default()
    };
    let last = u8::try_from(peer).unwrap_or(0) + 2;
    let (mut attrs, mut out) = (Vec::new(), Vec::new());
    // What does not fit even so is not said.
    let _ = if v6 {
        egress_attributes(&canonical, None, &egress, &mut attrs);
        let address = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into());
        let next_hop = NextHop::from(std::net::IpAddr::V6(address));
        let items = prefixes.map(|prefix| (prefix, None));
        let family = Family::Ipv6Unicast;
        pack_reach_mp(&mut out, &attrs, family, &next_hop, items, MAX_MESSAGE)
    } else {
        egress_attributes(
            &canonical,
            Some([192, 0, 2, last].into()),
            &egress,
            &mut attrs,
        );
        let items = prefixes.filter_map(|prefix| match prefix {
            Prefix::V4(prefix) => Some((prefix, None)),
            Prefix::V6(_) => None,
        });
        pack_reach4(&mut out, &attrs, items, MAX_MESSAGE)
    };
    out
}

/// The UPDATEs by which a peer takes prefixes back.
pub(crate) fn retraction(prefixes: impl Iterator<Item = Prefix>, v6: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let items = prefixes.map(|prefix| (prefix, None));
    pack_withdraw_mp(&mut out, family(v6), items, MAX_MESSAGE);
    out
}

pub(crate) fn refresh(v6: bool) -> Vec<u8> {
    let (afi, safi) = family(v6).code();
    let mut out = Vec::new();
    let request = RouteRefresh {
        afi,
        safi,
        subtype: RouteRefresh::REQUEST,
    };
    request.encode(&mut out);
    out
}

fn family(v6: bool) -> Family {
    if v6 {
        Family::Ipv6Unicast
    } else {
        Family::Ipv4Unicast
    }
}

impl World {
    /// Does one step, and everything that follows from it.
    pub(crate) fn play(&mut self, step: &Step) {
        self.step(step);
        self.settle();
    }

    fn step(&mut self, step: &Step) {
        let with = |peer: u8| usize::from(peer) % PEERS;
        match step {
            Step::Dial { peer } => drop(self.dial(with(*peer))),
            Step::Answer { peer, through } => self.answer(with(*peer), *through),
            Step::Open { peer, variant } => self.greet(with(*peer), *variant),
            Step::Say { peer, octets } => self.say_as(with(*peer), octets),
            Step::Message { peer, kind, body } => {
                let mut message = vec![0xFF; 16];
                let len = u16::try_from(19 + body.len()).unwrap_or(u16::MAX);
                message.extend(len.to_be_bytes());
                message.push(1 + kind % 5);
                message.extend(body);
                self.say_as(with(*peer), &message);
            }
            Step::Announce {
                peer,
                first,
                count,
                shape,
            } => {
                let peer = with(*peer);
                let Some(at) = self.line(peer) else { return };
                let (as4, v6) = (self.lines[at].ear.as4, shape & 1 != 0);
                let prefixes = prefixes(*first, *count, v6);
                self.say(at, &announcement(peer, as4, prefixes, v6, *shape));
            }
            Step::Retract { peer, first, count } => {
                for v6 in [false, true] {
                    self.say_as(with(*peer), &retraction(prefixes(*first, *count, v6), v6));
                }
            }
            Step::Refresh { peer, v6 } => self.say_as(with(*peer), &refresh(*v6)),
            Step::EndOfRib { peer, v6 } => {
                let mut out = Vec::new();
                end_of_rib(family(*v6), &mut out);
                self.say_as(with(*peer), &out);
            }
            Step::Hang { peer } => {
                if let Some(at) = self.line(with(*peer)) {
                    self.hang(at);
                }
            }
            Step::Read { peer, octets } => {
                let Some(at) = self.line(with(*peer)) else {
                    return;
                };
                match octets {
                    0 => self.lines[at].deaf = true,
                    255 => self.lines[at].deaf = false,
                    _ => {
                        let deaf = std::mem::replace(&mut self.lines[at].deaf, false);
                        self.write(at, usize::from(*octets) * 4);
                        self.lines[at].deaf = deaf;
                    }
                }
            }
            Step::Wait { time } => {
                let time = TIMES[usize::from(*time) % TIMES.len()];
                self.wait(Duration::from_millis(time));
            }
            Step::Originate {
                first,
                count,
                shape,
            } => {
                let of_ours = |prefix| originated(prefix, *shape);
                let routes = prefixes(*first, *count, shape & 1 != 0).map(of_ours);
                self.speaker.originate(self.now, routes.collect());
            }
            Step::Withdraw {
                first,
                count,
                shape,
            } => {
                let gone: Vec<Prefix> = prefixes(*first, *count, shape & 1 != 0).collect();
                self.speaker.withdraw(self.now, shape >> 1 & 1, &gone);
            }
            Step::Reset { peer } => {
                let text = Some("said by the operator");
                self.speaker.reset(self.now, name(with(*peer)), text);
            }
            Step::Reconfigure { peer, what } => self.reconfigure(with(*peer), *what),
            Step::Describe { peer, v6 } => {
                let peer = with(*peer);
                if let Some(at) = self.line(peer) {
                    let conn = self.lines[at].conn;
                    self.speaker.described(conn, info(peer, 40_000, *v6));
                }
            }
            Step::Look => self.agree(),
        }
    }

    fn say_as(&mut self, peer: usize, octets: &[u8]) {
        if let Some(at) = self.line(peer) {
            self.say(at, octets);
        }
    }

    /// The peer sends its OPEN and is polite from now on.
    pub(crate) fn greet(&mut self, peer: usize, variant: u8) {
        if let Some(at) = self.line(peer) {
            self.lines[at].polite = true;
            self.say(at, &open(peer, variant));
        }
    }

    fn reconfigure(&mut self, peer: usize, what: u8) {
        let mut config = self.speaker.config().clone();
        let amount = what >> 4;
        let policy = match amount & 3 {
            0 => Policy::All,
            1 => Policy::None,
            2 => Policy::Within(vec!["10.0.0.0/18".parse().expect("well-formed")]),
            _ => Policy::Own,
        };
        let of_peer = if peer == STRANGER {
            config.ranges.first_mut().map(|range| &mut range.template)
        } else {
            let named =
                |config: &&mut wayleave_bgp_core::config::PeerConfig| config.name == name(peer);
            config.peers.iter_mut().find(named)
        };
        match (what & 15, of_peer) {
            (0, Some(of_peer)) => of_peer.disabled = !of_peer.disabled,
            (1, Some(of_peer)) => of_peer.passive = !of_peer.passive,
            (2, Some(of_peer)) => of_peer.export = policy,
            (3, Some(of_peer)) if policy != Policy::Own => of_peer.import = policy,
            (4, Some(of_peer)) => {
                of_peer.next_hop_self = match of_peer.next_hop_self {
                    NextHopSelf::Never => NextHopSelf::External,
                    NextHopSelf::External => NextHopSelf::Always,
                    NextHopSelf::Always => NextHopSelf::Never,
                }
            }
            (5, Some(of_peer)) => of_peer.reflector_client = !of_peer.reflector_client,
            (6, Some(of_peer)) => of_peer.hold_time = [0, 3, 9, 90][usize::from(amount & 3)],
            (7, Some(of_peer)) => {
                of_peer.families = Family::ALL[usize::from(amount & 1)..].to_vec();
            }
            (8, Some(of_peer)) => of_peer.max_prefixes = (amount > 0).then(|| amount.into()),
            (9, Some(of_peer)) => of_peer.enforce_first_as = !of_peer.enforce_first_as,
            (10, Some(of_peer)) => of_peer.discovery = !of_peer.discovery,
            (11, Some(of_peer)) => of_peer.allow_own_as = amount & 1,
            (12, _) => config.router_id = RouterId::from(0x0a00_0001 + u32::from(amount)),
            (13, _) => config.multipath = 1 + amount % 4,
            (14, _) => {
                let mark = LargeCommunity {
                    global: OWN_AS,
                    local1: 12,
                    local2: amount.into(),
                };
                config.own_marks = (amount > 0).then_some(mark).into_iter().collect();
            }
            (_, Some(_)) if peer == STRANGER => config.ranges.clear(),
            (_, Some(_)) => config.peers.retain(|config| config.name != name(peer)),
            (_, None) => config = base(),
        }
        self.speaker.reconfigure(self.now, config);
    }
}

/// A route of our own.
fn originated(prefix: Prefix, shape: u8) -> Origination {
    let mut route = Origination::new(prefix);
    route.rank = shape >> 1 & 1;
    route.communities = match shape >> 2 & 3 {
        1 => vec![Community(0xFFFF_FF01)],
        2 => vec![Community(0xFFFF_FF02)],
        _ => Vec::new(),
    };
    route.med = (shape & 0x10 != 0).then(|| shape.into());
    route.local_pref = (shape & 0x20 != 0).then_some(300);
    route.large_communities = (0..shape >> 6)
        .map(|number| LargeCommunity {
            global: OWN_AS,
            local1: 7,
            local2: number.into(),
        })
        .collect();
    route
}
