//! PEER_INDEX_TABLE (RFC 6396, 4.3.1): whose routes the records after it hold.
//!
//! ```text
//! +---------------------------------------------------------------+
//! |                      Collector BGP ID                         |
//! +-------------------------------+-------------------------------+
//! |       View Name Length        |     View Name (variable)      |
//! +-------------------------------+-------------------------------+
//! |          Peer Count           |    Peer Entries (variable)    |
//! +-------------------------------+-------------------------------+
//!
//! +---------------+
//! |   Peer Type   |   0x02: AS number of four octets; 0x01: IPv6 address
//! +---------------+-----------------------------------------------+
//! |   Peer BGP ID, Peer IP Address, Peer AS                       |
//! +---------------------------------------------------------------+
//! ```

use std::net::IpAddr;

use super::{
    cursor::{Cursor, put_address},
    error::{Malformed, Unwritable, fits},
};
use crate::types::{Asn, RouterId};

/// The peer's AS number has four octets.
const AS4: u8 = 0x02;
/// The peer's address is an IPv6 one.
const IPV6: u8 = 0x01;

/// The table that says which peer an entry's index means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIndexTable {
    /// The BGP identifier of whoever has written the file.
    pub collector: RouterId,
    /// What the table is called; may be empty.
    pub view: String,
    /// The peers, by index.
    pub peers: Vec<Peer>,
}

/// One peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its BGP identifier.
    pub router_id: RouterId,
    /// Its address.
    pub address: IpAddr,
    /// Its AS.
    pub asn: Asn,
}

impl PeerIndexTable {
    /// A view's name "MUST follow the UTF-8 transformation format"; where it does not, what is wrong
    /// in it is replaced, because without this table no record after it can be understood.
    pub(super) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let collector = cursor.u32("collector's BGP identifier")?.into();
        let len = cursor.u16("length of the view's name")?;
        let view = cursor.slice(len, "view's name")?;
        let count = cursor.u16("number of peers")?;
        // Grown as peers are read: the count alone is no reason to allocate.
        let mut peers = Vec::new();
        for _ in 0..count {
            peers.push(Peer::decode(&mut cursor)?);
        }
        cursor.end()?;
        Ok(Self {
            collector,
            view: String::from_utf8_lossy(view).into_owned(),
            peers,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        let most = usize::from(u16::MAX);
        let name: u16 = fits("octets of a view's name", self.view.len(), most)?;
        let count: u16 = fits("peers", self.peers.len(), most)?;
        out.extend_from_slice(&self.collector.0.octets());
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(self.view.as_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        for peer in &self.peers {
            peer.encode(out);
        }
        Ok(())
    }
}

impl Peer {
    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let kind = cursor.u8("peers: a type")?;
        Ok(Self {
            router_id: cursor.u32("peers: a BGP identifier")?.into(),
            address: cursor.address(kind & IPV6 != 0, "peers: an address")?,
            asn: cursor.asn(kind & AS4 != 0, "peers: an AS number")?,
        })
    }

    /// Four octets of AS number whatever it is: every reader knows both.
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(AS4 | if self.address.is_ipv6() { IPV6 } else { 0 });
        out.extend_from_slice(&self.router_id.0.octets());
        put_address(out, self.address);
        out.extend_from_slice(&self.asn.0.to_be_bytes());
    }
}
