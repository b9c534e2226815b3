//! The peer's end of a connection: reads what we send, holds what it is told, and lets nothing
//! pass that a neighbour would have to complain of.

use std::collections::BTreeMap;

use wayleave_bgp_core::{
    Family, Prefix,
    attributes::{Attributes, NextHop},
    wire::{
        DecodeContext, MAX_MESSAGE, MessageKind, Nlri4, Nlri6, Notification, Open, RawUpdate,
        RouteRefresh, Verdict, decode_canonical, frame, parse_attributes,
    },
};

/// What a peer was told of one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) next_hop: NextHop,
    pub(crate) attributes: Attributes,
}

/// A reader.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    /// The beginning of a message.
    begun: Vec<u8>,
    ebgp: bool,
    /// AS numbers have four octets.
    pub(crate) as4: bool,
    opened: bool,
    pub(crate) notification: Option<Notification>,
    pub(crate) keepalives: usize,
    /// The adj-RIB-in.
    pub(crate) held: BTreeMap<Prefix, Told>,
    /// End-of-RIB markers, by family.
    pub(crate) ends: [usize; 2],
}

impl Ear {
    /// At the end of a connection whose session is external or not.
    pub(crate) fn new(ebgp: bool) -> Self {
        Self {
            ebgp,
            ..Self::default()
        }
    }

    /// Reads octets as they come.
    pub(crate) fn hear(&mut self, octets: impl Iterator<Item = u8>) {
        self.begun.extend(octets);
        let all = std::mem::take(&mut self.begun);
        let mut rest = all.as_slice();
        while let Some(message) =
            frame(rest, MAX_MESSAGE).expect("what we send has headers that are right")
        {
            assert!(
                self.notification.is_none(),
                "a message behind the last one: {:?}",
                message.kind
            );
            self.message(message.kind, message.body);
            rest = &rest[message.len..];
        }
        self.begun = rest.to_vec();
    }

    /// Whether the last message has come to its end.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.begun.is_empty()
    }

    fn message(&mut self, kind: MessageKind, body: &[u8]) {
        assert!(
            self.opened || matches!(kind, MessageKind::Open | MessageKind::Notification),
            "{kind:?} before OPEN"
        );
        match kind {
            MessageKind::Open => {
                assert!(!self.opened, "a second OPEN");
                Open::decode(body).expect("our OPEN can be read");
                self.opened = true;
            }
            MessageKind::Keepalive => self.keepalives += 1,
            MessageKind::Notification => {
                let notification = Notification::decode(body);
                let text = notification.to_string();
                assert!(!text.chars().any(char::is_control), "{text:?}");
                self.notification = Some(notification);
            }
            MessageKind::RouteRefresh => {
                RouteRefresh::decode(body).expect("our ROUTE-REFRESH can be read");
            }
            MessageKind::Update => self.update(body),
        }
    }

    fn update(&mut self, body: &[u8]) {
        let update = RawUpdate::split(body).expect("our UPDATE adds up");
        if update.is_end_of_rib_ipv4() {
            self.ends[Family::Ipv4Unicast.index()] += 1;
            return;
        }
        let context = DecodeContext {
            as4: self.as4,
            ebgp: self.ebgp,
        };
        let mut canonical = Vec::new();
        let parsed = parse_attributes(
            update.attributes,
            &context,
            !update.nlri.is_empty(),
            &mut canonical,
        );
        assert_eq!(parsed.verdict, Verdict::Ok, "sent {body:02x?}");
        for prefix in v4(update.withdrawn) {
            self.held.remove(&prefix);
        }
        if let Some(unreach) = parsed.unreach {
            let family = Family::from_code(unreach.afi, unreach.safi).expect("a family of ours");
            if unreach.nlri.is_empty() {
                self.ends[family.index()] += 1;
            }
            for prefix in multiprotocol(family, unreach.nlri) {
                self.held.remove(&prefix);
            }
        }
        let attributes = decode_canonical(&canonical);
        let mut hold = |prefix, next_hop| {
            let attributes = attributes.clone();
            let told = Told {
                next_hop,
                attributes,
            };
            self.held.insert(prefix, told);
        };
        if let Some(reach) = parsed.reach {
            let family = Family::from_code(reach.afi, reach.safi).expect("a family of ours");
            for prefix in multiprotocol(family, reach.nlri) {
                hold(prefix, reach.next_hop);
            }
        }
        for prefix in v4(update.nlri) {
            let next_hop = parsed.next_hop.expect("an announcement has a next hop");
            hold(prefix, std::net::IpAddr::V4(next_hop).into());
        }
    }
}

fn v4(nlri: &[u8]) -> Vec<Prefix> {
    let read = Nlri4::new(nlri, false).map(|next| next.expect("our prefixes can be read"));
    read.map(|(prefix, _)| prefix.into()).collect()
}

fn multiprotocol(family: Family, nlri: &[u8]) -> Vec<Prefix> {
    match family {
        Family::Ipv4Unicast => v4(nlri),
        Family::Ipv6Unicast => Nlri6::new(nlri, false)
            .map(|next| next.expect("our prefixes can be read").0.into())
            .collect(),
    }
}
