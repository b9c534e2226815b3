//! Addresses of interfaces.
//!
//! ```text
//! | family | bits | flags | scope | interface 4 |   ifaddrmsg, then attributes
//! ```

use std::net::IpAddr;

use crate::{
    netlink::{Batch, family_number, flag, message, put, put_address},
    prefix::Family,
};

mod attribute {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const LOCAL: u16 = 2;
}

/// No duplicate address detection: the address is there at once.
const NO_DAD: u8 = 0x02;

/// What gives an interface an address, and with it the network around it.
pub(crate) fn addition(address: IpAddr, len: u8, interface: u32) -> Batch {
    let mut bytes = Vec::new();
    let flags = flag::REQUEST | flag::ACK | flag::CREATE;
    put(message::NEW_ADDRESS, flags, &mut bytes, |out| {
        let family = match address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        };
        out.extend_from_slice(&[family_number(family), len, NO_DAD, 0]);
        out.extend_from_slice(&interface.to_ne_bytes());
        put_address(attribute::LOCAL, address, out);
        put_address(attribute::ADDRESS, address, out);
    });
    Batch { bytes, messages: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_the_kernel_reads_it() {
        let written = addition([10, 98, 0, 9].into(), 29, 5);
        let mut expected = Vec::new();
        expected.extend_from_slice(&40u32.to_ne_bytes());
        expected.extend_from_slice(&20u16.to_ne_bytes());
        expected.extend_from_slice(&0x605u16.to_ne_bytes());
        expected.extend_from_slice(&[0; 8]);
        expected.extend_from_slice(&[2, 29, 2, 0]);
        expected.extend_from_slice(&5u32.to_ne_bytes());
        for kind in [2u16, 1] {
            expected.extend_from_slice(&8u16.to_ne_bytes());
            expected.extend_from_slice(&kind.to_ne_bytes());
            expected.extend_from_slice(&[10, 98, 0, 9]);
        }
        assert_eq!((written.bytes, written.messages), (expected, 1));
    }
}
