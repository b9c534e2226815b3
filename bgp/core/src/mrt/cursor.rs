//! Fields of a record, one after the other.

use std::net::IpAddr;

use super::error::Malformed;
use crate::types::Asn;

/// What of a record has not been read yet. Each field is named, for the error where it is cut off.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    pub(super) fn take<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], Malformed> {
        let (field, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Malformed::Short(what))?;
        self.rest = rest;
        Ok(*field)
    }

    pub(super) fn slice(
        &mut self,
        len: impl Into<usize>,
        what: &'static str,
    ) -> Result<&'a [u8], Malformed> {
        let parts = self.rest.split_at_checked(len.into());
        let (field, rest) = parts.ok_or(Malformed::Short(what))?;
        self.rest = rest;
        Ok(field)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.take(what).map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        self.take(what).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.take(what).map(u32::from_be_bytes)
    }

    pub(super) fn address(&mut self, v6: bool, what: &'static str) -> Result<IpAddr, Malformed> {
        if v6 {
            self.take::<16>(what).map(IpAddr::from)
        } else {
            self.take::<4>(what).map(IpAddr::from)
        }
    }

    pub(super) fn asn(&mut self, as4: bool, what: &'static str) -> Result<Asn, Malformed> {
        if as4 {
            self.u32(what).map(Asn)
        } else {
            self.u16(what).map(|number| Asn(number.into()))
        }
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Malformed::LeftOver(left)),
        }
    }
}

pub(super) fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
    }
}
