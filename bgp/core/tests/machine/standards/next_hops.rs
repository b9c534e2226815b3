//! Next hops of the other family (RFC 8950), and link-local ones (RFC 2545).

use std::net::{Ipv4Addr, Ipv6Addr};

use wayleave_bgp_core::{
    Asn, ConnId, ConnInfo,
    config::{PeerConfig, RemoteAs},
    view::{RibKind, RouteView},
    wire::keepalive,
};

use super::stage::{OPTIONAL, Stage, TRANSITIVE, UPDATE, as_path, attr, mandatory, message};

const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const THEIRS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

/// A speaker with a neighbour over IPv6 beside one over IPv4, which is number 1.
struct Six {
    stage: Stage,
    conn: ConnId,
}

impl Six {
    fn new(
        (own_v4, own_v6, link_local): (Option<Ipv4Addr>, Option<Ipv6Addr>, Option<Ipv6Addr>),
        agrees: bool,
        internal: bool,
    ) -> Self {
        let asn = if internal { 65_001 } else { 65_009 };
        let mut stage = Stage::with(&[65_002], |config| {
            let remote = RemoteAs::Exact(Asn(asn));
            let mut peer = PeerConfig::new("six", THEIRS.into(), remote);
            assert!(peer.extended_next_hop, "offered to IPv6 neighbours");
            (peer.passive, peer.hold_time) = (true, 0);
            config.peers.push(peer);
        });
        stage.raise();
        let info = ConnInfo {
            remote: (THEIRS, 40_000).into(),
            local: (own_v6.unwrap_or(LINK_LOCAL), 179).into(),
            own_v4,
            own_v6,
            link_local,
            interface: None,
            link: Some("eth0".into()),
        };
        let conn = stage
            .speaker
            .accepted(stage.now, info)
            .expect("it is let in");
        let open = stage.open_with(1, |open| {
            open.asn = Asn(asn);
            open.router_id = wayleave_bgp_core::RouterId::from(99);
            open.capabilities.as4 = Some(Asn(asn));
            open.capabilities.families = vec![(1, 1), (2, 1)];
            if agrees {
                open.capabilities.extended_next_hop = vec![(1, 1, 2)];
            }
        });
        stage.say_on(conn, &open);
        stage.say_on(conn, &keepalive());
        stage.hear_on(conn);
        Self { stage, conn }
    }

    /// The attributes and the two fields of the UPDATEs it is told.
    fn told(&mut self) -> Vec<Vec<u8>> {
        let said = self.stage.hear_on(self.conn);
        let updates = said.into_iter().filter(|(kind, _)| *kind == UPDATE);
        updates.map(|(_, body)| body).collect()
    }

    fn held(&self) -> Vec<RouteView> {
        let mut query = wayleave_bgp_core::view::RouteQuery::all(
            RibKind::In,
            wayleave_bgp_core::Family::Ipv4Unicast,
        );
        query.peer = Some("six".to_owned());
        self.stage
            .speaker
            .routes(self.stage.now, &query)
            .unwrap()
            .routes
    }
}

/// MP_REACH_NLRI of 10.0.0.0/8 with this next hop, in an UPDATE of AS 65009.
fn reach(next_hop: &[u8]) -> Vec<u8> {
    let length = u8::try_from(next_hop.len()).unwrap();
    let value = [&[0, 1, 1, length][..], next_hop, &[0, 8, 10]].concat();
    let attributes = [
        attr(TRANSITIVE, 1, &[0]),
        as_path(&[65_009]),
        attr(OPTIONAL, 14, &value),
    ]
    .concat();
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    message(UPDATE, &[&[0, 0], &length[..], &attributes].concat())
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

/// RFC 8950, 4: with the capability on both sides an IPv4 prefix may have an IPv6 next hop.
#[test]
fn an_ipv6_next_hop_for_ipv4_is_taken_where_it_was_agreed_on() {
    for agrees in [true, false] {
        let mut six = Six::new((None, Some(GLOBAL), Some(LINK_LOCAL)), agrees, false);
        let both = [
            THEIRS.octets(),
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9).octets(),
        ];
        six.stage.say_on(six.conn, &reach(both.as_flattened()));
        let hops: Vec<_> = six
            .held()
            .iter()
            .map(|route| route.next_hop.unwrap())
            .collect();
        match agrees {
            true => {
                assert_eq!(hops[0].addr, std::net::IpAddr::V6(THEIRS));
                assert!(hops[0].link_local.is_some());
            }
            false => assert!(hops.is_empty(), "{hops:?}"),
        }
    }
}

/// RFC 8950, 3: what is told has our IPv6 address, where there is no IPv4 one, in MP_REACH_NLRI, and
/// is taken back by MP_UNREACH_NLRI.
#[test]
fn ipv4_prefixes_leave_with_an_ipv6_next_hop_where_there_is_no_other() {
    let mut six = Six::new((None, Some(GLOBAL), None), true, false);
    six.stage
        .say(1, &super::stage::announce(10, &mandatory(1, &[65_002])));
    let told = six.told();
    let head = [&[0, 1, 1, 16][..], &GLOBAL.octets(), &[0, 8, 10]].concat();
    assert!(told.iter().any(|body| contains(body, &head)), "{told:?}");
    six.stage.say(1, &message(UPDATE, &[0, 2, 8, 10, 0, 0]));
    let told = six.told();
    let unreach = attr(OPTIONAL, 15, &[0, 1, 1, 8, 10]);
    assert!(told.iter().any(|body| contains(body, &unreach)), "{told:?}");
    // Without agreement it is not told at all: "MUST only" (RFC 8950, 4).
    let mut six = Six::new((None, Some(GLOBAL), None), false, false);
    six.stage
        .say(1, &super::stage::announce(10, &mandatory(1, &[65_002])));
    let told = six.told();
    assert!(
        told.iter().all(|body| !contains(body, &[8, 10])),
        "{told:?}"
    );
}

/// An IPv4 address of the same interface is preferred: everybody can forward to it.
#[test]
fn ipv4_prefixes_leave_with_an_ipv4_next_hop_where_there_is_one() {
    let own = Ipv4Addr::new(192, 0, 2, 77);
    let mut six = Six::new((Some(own), Some(GLOBAL), None), true, false);
    six.stage
        .say(1, &super::stage::announce(10, &mandatory(1, &[65_002])));
    let told = six.told();
    let next_hop = attr(TRANSITIVE, 3, &own.octets());
    assert!(
        told.iter().any(|body| contains(body, &next_hop)),
        "{told:?}"
    );
}

/// RFC 2545, 3: 32 octets on a common link; the link-local address alone where there is none beside
/// it. A link-local address of others means nothing elsewhere.
#[test]
fn a_link_local_address_goes_along_on_its_link_and_no_further() {
    let mut six = Six::new((None, Some(GLOBAL), Some(LINK_LOCAL)), true, false);
    six.stage
        .say(1, &super::stage::announce(10, &mandatory(1, &[65_002])));
    let both = [
        &[0, 1, 1, 32][..],
        &GLOBAL.octets(),
        &LINK_LOCAL.octets(),
        &[0, 8, 10],
    ]
    .concat();
    let told = six.told();
    assert!(told.iter().any(|body| contains(body, &both)), "{told:?}");
    let mut six = Six::new((None, None, Some(LINK_LOCAL)), true, false);
    six.stage
        .say(1, &super::stage::announce(10, &mandatory(1, &[65_002])));
    let alone = [&[0, 1, 1, 16][..], &LINK_LOCAL.octets(), &[0, 8, 10]].concat();
    let told = six.told();
    assert!(told.iter().any(|body| contains(body, &alone)), "{told:?}");
    // Passed on inside the AS: the external neighbour's link-local address is not.
    let mut six = Six::new((None, Some(GLOBAL), Some(LINK_LOCAL)), true, true);
    let route = wayleave_bgp_core::feed::Origination {
        next_hop: Some(wayleave_bgp_core::attributes::NextHop {
            addr: THEIRS.into(),
            link_local: Some(LINK_LOCAL),
        }),
        ..wayleave_bgp_core::feed::Origination::new("2001:db8:5::/48".parse().unwrap())
    };
    six.stage.originate(route);
    let told = six.told();
    let global = [&[0, 2, 1, 16][..], &THEIRS.octets(), &[0, 48]].concat();
    assert!(told.iter().any(|body| contains(body, &global)), "{told:?}");
}

/// "A BGP speaker MUST NOT install a route with itself as the next hop" (RFC 4271, 5.1.3), whichever
/// of its addresses it is.
#[test]
fn none_of_our_own_addresses_is_a_next_hop() {
    let (v4, link_local) = (Ipv4Addr::new(192, 0, 2, 77), LINK_LOCAL);
    for own in [&GLOBAL.octets()[..], &link_local.octets(), &v4.octets()] {
        let mut six = Six::new((Some(v4), Some(GLOBAL), Some(link_local)), true, false);
        six.stage.say_on(six.conn, &reach(own));
        let refused = six.held()[0].refused.clone();
        assert_eq!(
            refused.as_deref(),
            Some("its next hop is our own address"),
            "{own:?}"
        );
    }
}

/// RFC 4291, 2.5.6: a link-local address means something on one link. Of a session that is bound to
/// none, nobody knows which.
#[test]
fn a_link_local_next_hop_needs_a_session_on_an_interface() {
    let mut six = Six::new((None, Some(GLOBAL), Some(LINK_LOCAL)), true, false);
    let other = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    six.stage.say_on(six.conn, &reach(&other.octets()));
    let refused = six.held()[0].refused.clone().unwrap();
    assert!(refused.contains("on no interface"), "{refused}");
}
