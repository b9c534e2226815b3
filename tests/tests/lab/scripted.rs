//! A neighbour that says what a test tells it to, and hears everything.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use wayleave_lab::{Host, Why, ensure};

const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take on a busy machine.
const ANSWER: Duration = Duration::from_secs(10);

/// Types of messages (RFC 4271, 4.1; RFC 2918, 3).
pub(crate) const OPEN: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
pub(crate) const NOTIFICATION: u8 = 3;
pub(crate) const KEEPALIVE: u8 = 4;
pub(crate) const ROUTE_REFRESH: u8 = 5;

/// The minimal UPDATE: End-of-RIB of IPv4 unicast (RFC 4724, 2).
pub(crate) const END_OF_RIB_IPV4: &[u8] = &[0; 4];
/// An empty MP_UNREACH_NLRI: End-of-RIB of IPv6 unicast.
pub(crate) const END_OF_RIB_IPV6: &[u8] = &[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1];

/// A session that is Established, both families and four-octet AS numbers negotiated.
pub(crate) struct Scripted {
    stream: TcpStream,
    heard: Vec<u8>,
}

/// A message: its type, and what follows the header.
pub(crate) type Message = (u8, Vec<u8>);

impl Scripted {
    /// Connects from an address of a host and opens a session.
    pub(crate) fn establish(
        from: &Host,
        to: IpAddr,
        asn: u32,
        identifier: Ipv4Addr,
    ) -> Result<Self, Why> {
        let to = SocketAddr::new(to, 179);
        let stream = from.enter(|| -> io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&to, CONNECT)?;
            stream.set_write_timeout(Some(ANSWER))?;
            Ok(stream)
        })??;
        let mut session = Self {
            stream,
            heard: Vec::new(),
        };
        session.say(OPEN, &open(asn, identifier))?;
        session.say(KEEPALIVE, &[])?;
        for expected in [OPEN, KEEPALIVE] {
            let (kind, body) = session.hear()?.ok_or("closed while it was opened")?;
            ensure!(kind == expected, "type {kind} and not {expected}: {body:?}");
        }
        Ok(session)
    }

    /// Sends a message with a right header.
    pub(crate) fn say(&mut self, kind: u8, body: &[u8]) -> Result<(), Why> {
        let length = u16::try_from(body.len() + 19)?;
        let mut message = vec![0xff; 16];
        message.extend(length.to_be_bytes());
        message.push(kind);
        message.extend(body);
        self.say_octets(&message)
    }

    /// Sends octets as they are.
    pub(crate) fn say_octets(&mut self, octets: &[u8]) -> Result<(), Why> {
        Ok(self.stream.write_all(octets)?)
    }

    /// The next message that is heard; none when the other side closes.
    pub(crate) fn hear(&mut self) -> Result<Option<Message>, Why> {
        let deadline = Instant::now() + ANSWER;
        loop {
            if let Some(message) = self.cut() {
                return Ok(Some(message));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(
                !left.is_zero(),
                "nothing was heard for {} s",
                ANSWER.as_secs()
            );
            self.stream.set_read_timeout(Some(left))?;
            let mut octets = [0; 4096];
            match self.stream.read(&mut octets) {
                Ok(0) => return Ok(None),
                Ok(n) => self.heard.extend(&octets[..n]),
                // What was said after the other side closed is answered by a reset.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Hears messages until both families have ended, and returns the UPDATEs before.
    pub(crate) fn hear_table(&mut self) -> Result<Vec<Vec<u8>>, Why> {
        let (mut updates, mut ends) = (Vec::new(), [false; 2]);
        while ends != [true; 2] {
            let (kind, body) = self.hear()?.ok_or("closed before the end of the table")?;
            match kind {
                UPDATE if body == END_OF_RIB_IPV4 => ends[0] = true,
                UPDATE if body == END_OF_RIB_IPV6 => ends[1] = true,
                UPDATE => updates.push(body),
                KEEPALIVE => {}
                kind => return Err(format!("a message of type {kind}: {body:?}").into()),
            }
        }
        Ok(updates)
    }

    /// Code and subcode of the NOTIFICATION the other side closes with.
    pub(crate) fn hear_notification(&mut self) -> Result<(u8, u8), Why> {
        while let Some((kind, body)) = self.hear()? {
            if kind == NOTIFICATION {
                ensure!(body.len() >= 2, "a NOTIFICATION of {body:?}");
                let codes = (body[0], body[1]);
                let after = self.hear()?;
                ensure!(after.is_none(), "after its NOTIFICATION it said {after:?}");
                return Ok(codes);
            }
        }
        Err("closed without a NOTIFICATION".into())
    }

    fn cut(&mut self) -> Option<Message> {
        let length = usize::from(u16::from_be_bytes([
            *self.heard.get(16)?,
            *self.heard.get(17)?,
        ]));
        let rest = self.heard.get(length.max(19)..)?.to_vec();
        let message = (self.heard[18], self.heard[19..length.max(19)].to_vec());
        self.heard = rest;
        Some(message)
    }
}

/// An OPEN (RFC 4271, 4.2) with IPv4 and IPv6 unicast, route refresh and four-octet AS numbers.
fn open(asn: u32, identifier: Ipv4Addr) -> Vec<u8> {
    // AS_TRANS where the number has no place (RFC 6793, 4.1).
    let short = u16::try_from(asn).unwrap_or(23456);
    let mut capabilities = vec![1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 2, 0, 65, 4];
    capabilities.extend(asn.to_be_bytes());
    let mut body = vec![4];
    body.extend(short.to_be_bytes());
    body.extend([0, 90]);
    body.extend(identifier.octets());
    let length = capabilities.len() as u8;
    body.extend([length + 2, 2, length]);
    body.extend(capabilities);
    body
}

/// Octets by their hexadecimal digits; spaces are for the reader.
pub(crate) fn octets(hex: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = hex
        .chars()
        .filter(|c| *c != ' ')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("{hex} is no hex"))?;
    if digits.len() % 2 == 1 {
        return Err(format!("{hex} ends in the middle of an octet"));
    }
    Ok(digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect())
}
