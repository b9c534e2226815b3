//! Nexthop objects: what many routes can name as their way.
//!
//! ```text
//! | family | scope | protocol | 0 | flags 4 |   nhmsg, then attributes
//! ```

use std::{io, net::IpAddr};

use crate::{
    netlink::{
        Batch, Netlink, STATIC, family_number, family_of, flag, message, messages, put,
        put_address, put_attribute, read_address,
    },
    prefix::Family,
};

/// Multicast group of nexthop objects.
pub(crate) const NEWS: u32 = 1 << 31;

mod attribute {
    pub(super) const ID: u16 = 1;
    pub(super) const INTERFACE: u16 = 5;
    pub(super) const GATEWAY: u16 = 6;
}

/// An object that is a single way and no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) id: u32,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) interface: Option<u32>,
}

impl Object {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let (&[family, ..], mut rest) = body.split_first_chunk::<8>()?;
        let (mut id, mut gateway, mut interface) = (None, None, None);
        while let Some((&[a, b, c, d], _)) = rest.split_first_chunk::<4>() {
            let size = usize::from(u16::from_ne_bytes([a, b]));
            let value = rest.get(4..size)?;
            match u16::from_ne_bytes([c, d]) {
                attribute::ID => id = Some(u32::from_ne_bytes(*value.first_chunk()?)),
                attribute::INTERFACE => interface = Some(u32::from_ne_bytes(*value.first_chunk()?)),
                attribute::GATEWAY => gateway = Some(read_address(family_of(family)?, value)?),
                _ => {}
            }
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(Self {
            id: id?,
            gateway,
            interface,
        })
    }
}

impl Netlink {
    /// Every nexthop object.
    pub(super) fn nexthops(&self) -> io::Result<Vec<Object>> {
        self.list(message::GET_NEXTHOP, &[0; 8], Object::read)
    }
}

/// What makes an object, or one that exists lead elsewhere.
pub(crate) fn setting(id: u32, gateway: IpAddr, interface: u32) -> Batch {
    let mut bytes = Vec::new();
    let flags = flag::REQUEST | flag::ACK | flag::REPLACE;
    put(message::NEW_NEXTHOP, flags, &mut bytes, |out| {
        let family = match gateway {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        };
        out.extend_from_slice(&[family_number(family), 0, STATIC, 0, 0, 0, 0, 0]);
        put_attribute(attribute::ID, &id.to_ne_bytes(), out);
        put_attribute(attribute::INTERFACE, &interface.to_ne_bytes(), out);
        put_address(attribute::GATEWAY, gateway, out);
    });
    Batch { bytes, messages: 1 }
}

/// The objects made or changed by what a socket in [`NEWS`] received.
pub(crate) fn news(bytes: &[u8]) -> impl Iterator<Item = Object> {
    messages(bytes)
        .filter(|message| message.kind == message::NEW_NEXTHOP)
        .filter_map(|message| Object::read(message.body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_as_news_of_the_same_object() {
        for gateway in ["10.98.0.10", "fd98::a"] {
            let gateway = gateway.parse().expect("an address");
            let written = setting(9, gateway, 5);
            let read: Vec<_> = news(&written.bytes).collect();
            let (gateway, interface) = (Some(gateway), Some(5));
            let id = 9;
            assert_eq!(
                read,
                [Object {
                    id,
                    gateway,
                    interface
                }]
            );
            for len in 0..written.bytes.len() {
                assert_eq!(news(&written.bytes[..len]).count(), 0, "{len} bytes");
            }
        }
    }
}
