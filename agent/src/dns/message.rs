//! One request in, one reply out: pure, on octets.

use std::str::FromStr;

pub(super) use domain::base::iana::Rcode;
use domain::{
    base::{
        Message, MessageBuilder, Name, ParsedName, Question, Rtype, Serial, StaticCompressor,
        ToName, Ttl,
        iana::{Class, Opcode, OptRcode},
        message_builder::{PushError, RecordSectionBuilder},
        name::ToLabelIter,
    },
    rdata::{A, Aaaa, Ns, Ptr, Soa, Srv, Txt},
};
use wayleave_discovery::{
    answers::{self, Data, QueryName, QueryType, Zone, answer},
    catalog::Catalog,
};

use super::forward::Forward;

/// The largest datagram we send: it passes every path without fragments (DNS Flag Day 2020).
pub(super) const MAX_DATAGRAM: u16 = 1_232;

/// What a requester without EDNS takes (RFC 1035, section 4.2.1).
const PLAIN_DATAGRAM: u16 = 512;

/// The octets of an OPT record without options (RFC 6891, section 6.1.2).
const OPT_LEN: usize = 11;

/// How a request came.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What the server should do.
#[derive(Debug)]
pub(super) enum Action {
    /// Send the reply.
    Reply,
    /// Send nothing.
    Drop,
    /// Ask an upstream, and send what it says.
    Forward(Box<Forward>),
}

/// EDNS of a request (RFC 6891).
#[derive(Copy, Clone, Debug)]
struct Edns {
    size: u16,
    version: u8,
    dnssec_ok: bool,
}

/// What is written: what the octets of a name point into grows with it.
type Target = StaticCompressor<Vec<u8>>;

/// What there is to say about a name of ours.
#[derive(Copy, Clone)]
struct Found<'a> {
    zone: &'a Zone,
    reply: &'a answers::Reply,
    forwards: bool,
}

struct Request<'a> {
    message: &'a Message<[u8]>,
    question: Question<ParsedName<&'a [u8]>>,
    /// The question as it stands in the request, name and all.
    raw_question: &'a [u8],
    edns: Option<Edns>,
}

/// Reads a request and writes the reply.
pub(super) fn respond(
    zone: &Zone,
    catalog: &Catalog,
    forwards: bool,
    transport: Transport,
    octets: &[u8],
    seed: u64,
    reply: &mut Vec<u8>,
) -> Action {
    let Ok(message) = Message::from_slice(octets) else {
        return Action::Drop;
    };
    // An answer is never answered: two servers would talk for ever.
    if message.header().qr() {
        return Action::Drop;
    }
    if message.header().opcode() != Opcode::QUERY {
        return header_only(octets, Rcode::NOTIMP, reply);
    }
    let Some(request) = Request::parse(message) else {
        return header_only(octets, Rcode::FORMERR, reply);
    };
    let limit = request.limit(transport);
    if request.edns.is_some_and(|edns| edns.version > 0) {
        return request.compose(reply, limit, OptRcode::BADVERS, None);
    }
    if request.question.qclass() != Class::IN {
        return request.compose(reply, limit, OptRcode::REFUSED, None);
    }
    let labels = request
        .question
        .qname()
        .iter()
        .filter(|label| !label.is_root());
    let name = QueryName::from_labels(labels.map(|label| label.as_slice()));
    let kind = query_type(request.question.qtype());
    let found = name.and_then(|name| answer(zone, catalog, &name, kind, seed));
    let Some(found) = found else {
        if forwards && message.header().rd() {
            return Action::Forward(Box::new(request.forward(transport)));
        }
        return request.compose(reply, limit, OptRcode::REFUSED, None);
    };
    if found.not_known_yet {
        return request.compose(reply, limit, OptRcode::SERVFAIL, None);
    }
    let rcode = if found.no_such_name {
        OptRcode::NXDOMAIN
    } else {
        OptRcode::NOERROR
    };
    request.compose(
        reply,
        limit,
        rcode,
        Some(Found {
            zone,
            reply: &found,
            forwards,
        }),
    )
}

/// Refuses a requester who may not ask, with fewer octets than it sent.
pub(super) fn refuse(octets: &[u8], reply: &mut Vec<u8>) -> Action {
    match Message::from_slice(octets) {
        Ok(message) if !message.header().qr() => header_only(octets, Rcode::REFUSED, reply),
        Ok(_) | Err(_) => Action::Drop,
    }
}

/// The response code of a whole message.
pub(super) fn rcode_of(reply: &[u8]) -> Rcode {
    Message::from_slice(reply).map_or(Rcode::SERVFAIL, |message| message.header().rcode())
}

impl<'a> Request<'a> {
    /// None when it is malformed.
    fn parse(message: &'a Message<[u8]>) -> Option<Self> {
        let counts = message.header_counts();
        // RFC 9619: exactly one question.
        if counts.qdcount() != 1 {
            return None;
        }
        let mut questions = message.question();
        let question = questions.next()?.ok()?;
        let raw_question = message
            .as_slice()
            .get(12..12 + questions.pos().checked_sub(12)?)?;
        // A name of the first question has nothing before it to point to.
        if raw_question.len() != usize::from(question.qname().compose_len()) + 4 {
            return None;
        }
        let mut edns = None;
        for record in message.additional().ok()? {
            let record = record.ok()?;
            if record.rtype() != Rtype::OPT {
                continue;
            }
            // RFC 6891, section 6.1.1: more than one OPT is FORMERR, and its name is the root.
            if edns.is_some() || !record.owner().is_root() {
                return None;
            }
            let [_, version, flags, _] = record.ttl().as_secs().to_be_bytes();
            let size = record.class().to_int();
            edns = Some(Edns {
                size,
                version,
                dnssec_ok: flags & 0x80 != 0,
            });
        }
        Some(Self {
            message,
            question,
            raw_question,
            edns,
        })
    }

    /// The most octets the requester takes.
    fn limit(&self, transport: Transport) -> usize {
        match (transport, self.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, None) => usize::from(PLAIN_DATAGRAM),
            // RFC 6891, section 6.2.3: values below 512 are treated as 512.
            (Transport::Udp, Some(edns)) => {
                usize::from(edns.size.clamp(PLAIN_DATAGRAM, MAX_DATAGRAM))
            }
        }
    }

    fn forward(&self, transport: Transport) -> Forward {
        Forward::new(
            self.message.header(),
            self.raw_question,
            self.edns.map(|edns| edns.dnssec_ok),
            transport,
            self.limit(transport),
        )
    }

    /// Writes a reply with this question and what was found.
    ///
    /// Records that do not fit are left out and TC is set: a resolver asks again over TCP, and one that cannot (musl
    /// before 1.2.4) has some addresses. Additional records that do not fit are left out silently (RFC 2181, section 9).
    fn compose(
        &self,
        reply: &mut Vec<u8>,
        limit: usize,
        rcode: OptRcode,
        found: Option<Found<'_>>,
    ) -> Action {
        match self.write(std::mem::take(reply), limit, rcode, found) {
            Some(octets) => {
                *reply = octets;
                Action::Reply
            }
            // Not met: a header, a question of at most 259 octets and an OPT fit every limit.
            None => header_only(self.message.as_slice(), Rcode::SERVFAIL, reply),
        }
    }

    fn write(
        &self,
        mut buffer: Vec<u8>,
        limit: usize,
        rcode: OptRcode,
        found: Option<Found<'_>>,
    ) -> Option<Vec<u8>> {
        buffer.clear();
        let mut builder = MessageBuilder::from_target(StaticCompressor::new(buffer)).ok()?;
        builder.set_push_limit(limit - self.edns.map_or(0, |_| OPT_LEN));
        let mut answer = builder.start_answer(self.message, rcode.rcode()).ok()?;
        answer.header_mut().set_cd(self.message.header().cd());
        let mut additional = if let Some(Found {
            zone,
            reply,
            forwards,
        }) = found
        {
            answer.header_mut().set_aa(true);
            answer.header_mut().set_ra(forwards);
            let mut is_whole = reply
                .answers
                .iter()
                .all(|data| push(&mut answer, self.question.qname(), zone.ttl, data).is_ok());
            let mut authority = answer.authority();
            if let Some(soa) = &reply.authority {
                let owner = Name::<Vec<u8>>::from_str(&soa.owner).ok()?;
                // RFC 2308, section 5: the TTL of the SOA is that of the negative answer.
                let data = Data::Soa(soa.clone());
                is_whole &= push(&mut authority, &owner, soa.minimum, &data).is_ok();
            }
            authority.header_mut().set_tc(!is_whole);
            let mut additional = authority.additional();
            for (name, data) in &reply.additional {
                let owner = Name::<Vec<u8>>::from_str(name).ok()?;
                if push(&mut additional, &owner, zone.ttl, data).is_err() {
                    break;
                }
            }
            additional
        } else {
            answer.additional()
        };
        additional.clear_push_limit();
        if self.edns.is_some() {
            let written = additional.opt(|opt| {
                opt.set_udp_payload_size(MAX_DATAGRAM);
                opt.set_rcode(rcode);
                Ok(())
            });
            written.ok()?;
        }
        Some(additional.finish().into_target())
    }
}

/// Why a record was left out.
#[derive(Debug)]
enum LeftOut {
    /// It does not fit any more.
    Full,
}

impl From<PushError> for LeftOut {
    fn from(_: PushError) -> Self {
        Self::Full
    }
}

fn push(
    section: &mut impl RecordSectionBuilder<Target>,
    owner: &impl ToName,
    ttl: u32,
    data: &Data,
) -> Result<(), LeftOut> {
    // The names of the zone are within the limits of DNS by the limit on its origin; should one ever not be, its
    // record is left out as if it did not fit.
    let name = |text: &str| Name::<Vec<u8>>::from_str(text).map_err(|_| LeftOut::Full);
    match data {
        Data::A(address) => section.push((owner, ttl, A::new(*address)))?,
        Data::Aaaa(address) => section.push((owner, ttl, Aaaa::new(*address)))?,
        Data::Srv {
            priority,
            weight,
            port,
            target,
        } => {
            section.push((
                owner,
                ttl,
                Srv::new(*priority, *weight, *port, name(target)?),
            ))?;
        }
        Data::Ptr(target) => section.push((owner, ttl, Ptr::new(name(target)?)))?,
        Data::Ns(server) => section.push((owner, ttl, Ns::new(name(server)?)))?,
        Data::Txt(tags) => {
            let mut strings = Vec::new();
            for tag in tags {
                let text = tag.as_str().as_bytes();
                strings.push(u8::try_from(text.len()).map_err(|_| LeftOut::Full)?);
                strings.extend(text);
            }
            let text = Txt::from_octets(strings).map_err(|_| LeftOut::Full)?;
            section.push((owner, ttl, text))?;
        }
        Data::Soa(soa) => {
            // Nobody transfers this zone: refresh, retry and expire only have to be sensible.
            let (primary, mailbox) = (name(&soa.primary)?, name(&soa.mailbox)?);
            let [refresh, retry, expire] = [3_600, 600, 86_400].map(Ttl::from_secs);
            let minimum = Ttl::from_secs(soa.minimum);
            let serial = Serial(soa.serial);
            section.push((
                owner,
                ttl,
                Soa::new(primary, mailbox, serial, refresh, retry, expire, minimum),
            ))?;
        }
    }
    Ok(())
}

/// A reply of twelve octets, for requests that have no question to repeat.
fn header_only(request: &[u8], rcode: Rcode, reply: &mut Vec<u8>) -> Action {
    let Some(&[id1, id0, flags1, _]) = request.first_chunk() else {
        return Action::Drop;
    };
    reply.clear();
    // QR set; opcode and RD as they came; AA, TC, RA clear (RFC 1035, section 4.1.1).
    reply.extend([id1, id0, 0x80 | flags1 & 0b0111_1001, rcode.to_int() & 0x0f]);
    reply.extend([0; 8]);
    Action::Reply
}

/// Body of the fuzz target, which stable tests run too: octets of a request, answered from a small catalog.
///
/// # Panics
/// When a reply is not a message, is no answer, or is longer than the requester takes: that is the finding.
pub fn fuzz_one(octets: &[u8]) {
    let Ok(zone) = Zone::new(Zone::DEFAULT_ORIGIN) else {
        return;
    };
    let catalog = Catalog::new();
    for (transport, most) in [(Transport::Udp, MAX_DATAGRAM), (Transport::Tcp, u16::MAX)] {
        for forwards in [false, true] {
            let mut reply = Vec::new();
            match respond(&zone, &catalog, forwards, transport, octets, 1, &mut reply) {
                Action::Drop => assert!(reply.is_empty()),
                Action::Forward(forward) => forward.fuzz_one(octets),
                Action::Reply => {
                    assert!(reply.len() <= usize::from(most));
                    let message = Message::from_slice(&reply).expect("a reply is a message");
                    assert!(message.header().qr());
                    assert_eq!(message.header().id().to_be_bytes(), octets[..2]);
                    for record in message.additional().expect("sections of ours are whole") {
                        record.expect("records of ours are whole");
                    }
                }
            }
        }
    }
    let mut reply = Vec::new();
    if matches!(refuse(octets, &mut reply), Action::Reply) {
        assert!(reply.len() <= octets.len());
    }
}

fn query_type(rtype: Rtype) -> QueryType {
    match rtype {
        Rtype::A => QueryType::A,
        Rtype::AAAA => QueryType::Aaaa,
        Rtype::SRV => QueryType::Srv,
        Rtype::PTR => QueryType::Ptr,
        Rtype::TXT => QueryType::Txt,
        Rtype::NS => QueryType::Ns,
        Rtype::SOA => QueryType::Soa,
        Rtype::ANY => QueryType::Any,
        _ => QueryType::Other,
    }
}
