//! The control packet (RFC 5880, 4.1), and the checks that need no session (6.8.6).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       My Discriminator                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Your Discriminator                       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Desired Min TX Interval                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                   Required Min RX Interval                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 Required Min Echo RX Interval                 |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::{fmt, num::NonZeroU8, num::NonZeroU32};

use serde::{Deserialize, Serialize};

use crate::Discard;

/// The mandatory section's length; we send nothing else.
pub const PACKET_LEN: usize = 24;

const VERSION: u8 = 1;
/// The least Length without an authentication section, and with one.
const LEAST_LENGTHS: [u8; 2] = [24, 26];

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATION_PRESENT: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// The state of a session, as seen by one of its ends.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum State {
    /// Held down by an operator; says nothing about the path.
    AdminDown = 0,
    /// Down, or just created.
    #[default]
    Down = 1,
    /// The remote system is heard and does not know yet that it is.
    Init = 2,
    /// The path works both ways.
    Up = 3,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why a system last changed the state of a session.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// No Diagnostic.
    pub const NONE: Self = Self(0);
    /// Control Detection Time Expired.
    pub const TIME_EXPIRED: Self = Self(1);
    /// Echo Function Failed.
    pub const ECHO_FAILED: Self = Self(2);
    /// Neighbor Signaled Session Down.
    pub const NEIGHBOR_DOWN: Self = Self(3);
    /// Forwarding Plane Reset.
    pub const FORWARDING_RESET: Self = Self(4);
    /// Path Down.
    pub const PATH_DOWN: Self = Self(5);
    /// Concatenated Path Down.
    pub const CONCATENATED_PATH_DOWN: Self = Self(6);
    /// Administratively Down.
    pub const ADMIN_DOWN: Self = Self(7);
    /// Reverse Concatenated Path Down.
    pub const REVERSE_PATH_DOWN: Self = Self(8);

    /// From the five bits of the field.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & 0x1f)
    }

    /// The number: 0 to 31.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "No Diagnostic",
            1 => "Control Detection Time Expired",
            2 => "Echo Function Failed",
            3 => "Neighbor Signaled Session Down",
            4 => "Forwarding Plane Reset",
            5 => "Path Down",
            6 => "Concatenated Path Down",
            7 => "Administratively Down",
            8 => "Reverse Concatenated Path Down",
            reserved => return write!(f, "Reserved ({reserved})"),
        })
    }
}

/// A control packet: well-formed, and not yet held against a session. Its Version, Multipoint bit
/// and Length have only one right value and are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender last changed its state.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// Asks for a packet with `final_`.
    pub poll: bool,
    /// Answers one with `poll`.
    pub final_: bool,
    /// The sender's BFD outlives its control plane.
    pub control_plane_independent: bool,
    /// An authentication section follows; we never send one, and keep nothing of one we receive.
    pub authentication: bool,
    /// The sender wants no periodic packets while both ends are up.
    pub demand: bool,
    /// How many of the sender's packets may be missed.
    pub detect_mult: NonZeroU8,
    /// The sender's discriminator.
    pub my_discriminator: NonZeroU32,
    /// The receiver's discriminator; 0 while the sender does not know it.
    pub your_discriminator: u32,
    /// Microseconds. Zero is reserved, and not a reason to discard a packet.
    pub desired_min_tx: u32,
    /// Microseconds; zero asks for no periodic packets at all.
    pub required_min_rx: u32,
    /// Microseconds; zero refuses Echo packets.
    pub required_min_echo_rx: u32,
}

impl Packet {
    /// Reads a datagram's payload, with the checks of RFC 5880, 6.8.6 up to My Discriminator, in
    /// their order. What comes behind Length is not looked at.
    ///
    /// # Errors
    ///
    /// The first check that it does not pass.
    pub fn decode(payload: &[u8]) -> Result<Self, Discard> {
        let Some((packet, _)) = payload.split_first_chunk::<PACKET_LEN>() else {
            // Too short for its own Version and Length to mean anything, or shorter than any Length
            // that is long enough.
            return Err(Discard::Short);
        };
        let &[
            first,
            flags,
            detect_mult,
            length, //
            m0,
            m1,
            m2,
            m3,
            y0,
            y1,
            y2,
            y3, //
            t0,
            t1,
            t2,
            t3,
            r0,
            r1,
            r2,
            r3,
            e0,
            e1,
            e2,
            e3,
        ] = packet;
        if first >> 5 != VERSION {
            return Err(Discard::Version);
        }
        let authentication = flags & AUTHENTICATION_PRESENT != 0;
        let [plain, authenticated] = LEAST_LENGTHS;
        if length < if authentication { authenticated } else { plain } {
            return Err(Discard::Length);
        }
        if usize::from(length) > payload.len() {
            return Err(Discard::Truncated);
        }
        let detect_mult = NonZeroU8::new(detect_mult).ok_or(Discard::DetectMult)?;
        if flags & MULTIPOINT != 0 {
            return Err(Discard::Multipoint);
        }
        let my_discriminator = NonZeroU32::new(u32::from_be_bytes([m0, m1, m2, m3]))
            .ok_or(Discard::MyDiscriminator)?;
        Ok(Self {
            diagnostic: Diagnostic::from_bits(first),
            state: match flags >> 6 {
                0 => State::AdminDown,
                1 => State::Down,
                2 => State::Init,
                _ => State::Up,
            },
            poll: flags & POLL != 0,
            final_: flags & FINAL != 0,
            control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
            authentication,
            demand: flags & DEMAND != 0,
            detect_mult,
            my_discriminator,
            your_discriminator: u32::from_be_bytes([y0, y1, y2, y3]),
            desired_min_tx: u32::from_be_bytes([t0, t1, t2, t3]),
            required_min_rx: u32::from_be_bytes([r0, r1, r2, r3]),
            required_min_echo_rx: u32::from_be_bytes([e0, e1, e2, e3]),
        })
    }

    /// Writes it, without an authentication section.
    #[must_use]
    pub fn encode(&self) -> [u8; PACKET_LEN] {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = (self.state as u8) << 6
            | bit(self.poll, POLL)
            | bit(self.final_, FINAL)
            | bit(self.control_plane_independent, CONTROL_PLANE_INDEPENDENT)
            | bit(self.demand, DEMAND);
        let [length, _] = LEAST_LENGTHS;
        let [m0, m1, m2, m3] = self.my_discriminator.get().to_be_bytes();
        let [y0, y1, y2, y3] = self.your_discriminator.to_be_bytes();
        let [t0, t1, t2, t3] = self.desired_min_tx.to_be_bytes();
        let [r0, r1, r2, r3] = self.required_min_rx.to_be_bytes();
        let [e0, e1, e2, e3] = self.required_min_echo_rx.to_be_bytes();
        [
            VERSION << 5 | self.diagnostic.bits(),
            flags,
            self.detect_mult.get(),
            length, //
            m0,
            m1,
            m2,
            m3,
            y0,
            y1,
            y2,
            y3, //
            t0,
            t1,
            t2,
            t3,
            r0,
            r1,
            r2,
            r3,
            e0,
            e1,
            e2,
            e3,
        ]
    }

    /// The same without its Poll and Final bits: what 6.6 and 6.8.7 call its contents.
    #[must_use]
    pub(crate) fn contents(self) -> Self {
        Self {
            poll: false,
            final_: false,
            ..self
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Up, Poll, DetectMult 3, 50 ms both ways.
    const UP: [u8; PACKET_LEN] = [
        0x20, 0xe0, 3, 24, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50, 0, 0, 0, 0,
    ];

    #[test]
    fn a_packet_is_read_as_rfc_5880_4_1_draws_it() {
        let packet = Packet::decode(&UP).unwrap();
        assert_eq!(
            (packet.state, packet.poll, packet.final_),
            (State::Up, true, false)
        );
        assert_eq!(packet.detect_mult.get(), 3);
        assert_eq!(
            (packet.my_discriminator.get(), packet.your_discriminator),
            (7, 9)
        );
        assert_eq!(
            (packet.desired_min_tx, packet.required_min_rx),
            (50_000, 50_000)
        );
        assert_eq!(packet.diagnostic, Diagnostic::NONE);
        assert_eq!(packet.encode(), UP);
    }

    /// Each check of 6.8.6, and of two faults the one that stands first there.
    #[test]
    fn the_checks_of_reception_come_in_the_order_of_6_8_6() {
        let with = |changes: &[(usize, u8)]| {
            let mut bytes = UP.to_vec();
            for &(at, value) in changes {
                bytes[at] = value;
            }
            Packet::decode(&bytes)
        };
        let version = (0, 0x40);
        let length = (3, 23);
        let truncated = (3, 25);
        let detect_mult = (2, 0);
        let multipoint = (1, 0xe1);
        let my_discriminator = (7, 0);
        let faults = [
            (version, Discard::Version),
            (length, Discard::Length),
            (detect_mult, Discard::DetectMult),
            (multipoint, Discard::Multipoint),
            (my_discriminator, Discard::MyDiscriminator),
        ];
        for (i, &(fault, discard)) in faults.iter().enumerate() {
            for &(later, _) in &faults[i..] {
                assert_eq!(with(&[fault, later]), Err(discard));
            }
        }
        assert_eq!(with(&[truncated]), Err(Discard::Truncated));
        assert_eq!(with(&[truncated, detect_mult]), Err(Discard::Truncated));
        assert_eq!(with(&[version, truncated]), Err(Discard::Version));
        assert_eq!(with(&[(0, 0x00)]), Err(Discard::Version), "version 0");
        // With an authentication section two octets more are the least.
        assert_eq!(with(&[(1, 0xe4)]), Err(Discard::Length));
        assert_eq!(with(&[(1, 0xe4), (3, 25)]), Err(Discard::Length));
        assert_eq!(with(&[(1, 0xe4), (3, 26)]), Err(Discard::Truncated));
        for end in 0..PACKET_LEN {
            assert_eq!(Packet::decode(&UP[..end]), Err(Discard::Short));
        }
    }

    #[test]
    fn an_authentication_section_is_seen_and_octets_behind_length_are_not() {
        let mut bytes = UP.to_vec();
        bytes.extend([1, 5, 0, b'x', b'y']);
        assert!(!Packet::decode(&bytes).unwrap().authentication);
        bytes[1] |= 0x04;
        bytes[3] = 29;
        assert!(Packet::decode(&bytes).unwrap().authentication);
    }

    #[test]
    fn diagnostics_have_the_names_of_the_registry_and_reserved_ones_pass() {
        assert_eq!(
            Diagnostic::TIME_EXPIRED.to_string(),
            "Control Detection Time Expired"
        );
        assert_eq!(Diagnostic::from_bits(0xff).to_string(), "Reserved (31)");
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_encoded_again(bytes in any::<[u8; PACKET_LEN]>()) {
            let mut bytes = bytes;
            // Makes most of them well-formed, apart from discriminators and multiplier.
            bytes[0] = bytes[0] & 0x1f | 0x20;
            bytes[1] &= !(AUTHENTICATION_PRESENT | MULTIPOINT);
            bytes[3] = 24;
            if let Ok(packet) = Packet::decode(&bytes) {
                prop_assert_eq!(packet.encode(), bytes);
            }
        }

        #[test]
        fn any_octets_are_read_or_discarded(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Packet::decode(&bytes);
        }
    }
}
