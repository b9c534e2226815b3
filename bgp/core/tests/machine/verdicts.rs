//! What `wayleave bgp decode` says a session does is what a session does.

use proptest::{collection::vec, prelude::*};
use wayleave_bgp_core::{
    Asn, ConnId, RouterId, Speaker, Time,
    message::{Options, Outcome, Reset, decode},
    wire::{Capabilities, MAX_MESSAGE, MessageKind, Notification, Open, frame, keepalive},
};

use crate::net::{config, peer};

/// A speaker that has sent its OPEN to a neighbour and waits for the neighbour's.
fn waiting(options: &Options) -> (Speaker, ConnId) {
    let mut config = config(0, 65_001);
    let mut neighbour = peer(1, if options.ebgp { 65_002 } else { 65_001 });
    neighbour.passive = true;
    config.peers.push(neighbour);
    let mut speaker = Speaker::new(Time(0), config);
    let info = crate::net::call(1, 0);
    let conn = speaker.accepted(Time(0), info).unwrap();
    (speaker, conn)
}

fn established(options: &Options) -> (Speaker, ConnId) {
    let (mut speaker, conn) = waiting(options);
    let asn = Asn(if options.ebgp { 65_002 } else { 65_001 });
    let open = Open {
        asn,
        hold_time: 0,
        router_id: RouterId::from(99),
        capabilities: Capabilities {
            families: vec![(1, 1), (2, 1)],
            as4: options.as4.then_some(asn),
            ..Capabilities::default()
        },
    };
    let mut octets = Vec::new();
    open.encode(&mut octets);
    octets.extend(keepalive());
    speaker.received(Time(0), conn, &octets);
    assert_eq!(speaker.view().established, 1);
    (speaker, conn)
}

/// The NOTIFICATION among what the speaker wants to send.
fn told(speaker: &mut Speaker, conn: ConnId) -> Option<Reset> {
    let mut sent = Vec::new();
    loop {
        let mut slices = Vec::new();
        speaker.output(conn, 64, &mut slices);
        let octets: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        if octets.is_empty() {
            break;
        }
        speaker.written(Time(0), conn, octets.len());
        sent.extend(octets);
    }
    let mut rest = &sent[..];
    while let Ok(Some(message)) = frame(rest, MAX_MESSAGE) {
        if message.kind == MessageKind::Notification {
            return Some(Notification::decode(message.body).into());
        }
        rest = &rest[message.len..];
    }
    None
}

fn agree(octets: &[u8], options: &Options) {
    let said = decode(octets, options).expect("a whole message");
    let (mut speaker, conn) = established(options);
    speaker.received(Time(0), conn, octets);
    let told = told(&mut speaker, conn);
    let view = &speaker.peer_views(Time(0))[0];
    let did = match &told {
        Some(_) => Outcome::SessionReset,
        None if view.treated_as_withdraw > 0 => Outcome::TreatAsWithdraw,
        None if view.attributes_discarded > 0 => Outcome::AttributeDiscard,
        None => Outcome::Ok,
    };
    assert_eq!((said.verdict, &said.reset), (did, &told), "{said:#?}");
    if let (Outcome::TreatAsWithdraw | Outcome::AttributeDiscard, Some(why)) =
        (did, &view.last_malformed)
    {
        let section = said.section.expect("anything but ok has one");
        assert!(why.ends_with(&format!("({section})")), "{why}: {section}");
    }
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xFF; 16];
    out.extend_from_slice(&u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    out.push(kind);
    out.extend_from_slice(body);
    out
}

fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let field = |octets: &[u8]| {
        let len = u16::try_from(octets.len()).unwrap();
        [&len.to_be_bytes(), octets].concat()
    };
    framed(
        2,
        &[&field(withdrawn)[..], &field(attributes), nlri].concat(),
    )
}

/// One well-formed attribute of each kind, for sessions of both widths.
const GOOD: [&[u8]; 22] = [
    &[0x40, 1, 1, 0],
    &[0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xEA],
    &[0x40, 2, 4, 2, 1, 0xFD, 0xEA],
    &[0x40, 2, 0],
    &[0x40, 3, 4, 192, 0, 2, 2],
    &[0x80, 4, 4, 0, 0, 0, 9],
    &[0x40, 5, 4, 0, 0, 0, 9],
    &[0x40, 6, 0],
    &[0xC0, 7, 8, 0, 0, 0xFD, 0xEA, 192, 0, 2, 9],
    &[0xC0, 7, 6, 0xFD, 0xEA, 192, 0, 2, 9],
    &[0xC0, 8, 4, 0xFD, 0xEA, 0, 1],
    &[0x80, 9, 4, 192, 0, 2, 9],
    &[0x80, 10, 4, 192, 0, 2, 9],
    &[0x80, 15, 6, 0, 2, 1, 16, 0x20, 1],
    &[0x80, 15, 3, 0, 1, 1],
    &[0xC0, 16, 8, 0, 2, 0, 1, 0, 0, 0, 1],
    &[0xC0, 17, 6, 2, 1, 0, 1, 0x86, 0xA0],
    &[0xC0, 18, 8, 0, 1, 0x86, 0xA0, 192, 0, 2, 9],
    &[0x80, 26, 11, 1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 9],
    &[0xC0, 32, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
    &[0xC0, 35, 4, 0, 0, 0xFD, 0xEA],
    &[0xC0, 99, 2, 1, 2],
];

const REACH: &[u8] = &[
    0x80, 14, 24, 0, 2, 1, 16, 0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 16,
    0x20, 1,
];

fn options() -> impl Strategy<Value = Options> {
    any::<[bool; 2]>().prop_map(|[as4, ebgp]| Options {
        as4,
        ebgp,
        ..Options::default()
    })
}

/// Some attributes, with an octet here and there that is another one.
fn attributes() -> impl Strategy<Value = Vec<u8>> {
    let one = prop_oneof![
        6 => (0..GOOD.len()).prop_map(|place| GOOD[place]),
        1 => Just(REACH),
    ];
    let change = (
        any::<prop::sample::Index>(),
        prop_oneof![0_u8..4, any::<u8>()],
    );
    (vec(one, 0..10), vec(change, 0..3)).prop_map(|(list, changes)| {
        let mandatory = [GOOD[0], GOOD[1], GOOD[4]];
        let mut octets = [&mandatory[..], &list].concat().concat();
        for (place, octet) in changes {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        octets
    })
}

fn prefixes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(vec![16, 10, 1, 24, 198, 51, 100]),
        3 => Just(Vec::new()),
        1 => vec(any::<u8>(), 0..6),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_session_does_with_an_update_what_decoding_says(
        options in options(),
        withdrawn in prefixes(),
        attributes in attributes(),
        nlri in prefixes(),
    ) {
        agree(&update(&withdrawn, &attributes, &nlri), &options);
    }

    #[test]
    fn a_session_does_with_any_body_what_decoding_says(
        options in options(),
        kind in prop_oneof![Just(2_u8), Just(5)],
        body in vec(prop_oneof![0_u8..4, any::<u8>()], 0..40),
    ) {
        agree(&framed(kind, &body), &options);
    }

    #[test]
    fn a_session_answers_an_open_as_decoding_says(
        fixed in (prop_oneof![9 => Just(4_u8), 1 => any::<u8>()], any::<[u8; 8]>()),
        zero in prop_oneof![Just(0..0_usize), Just(1..3), Just(3..4), Just(5..9)],
        parameters in prop_oneof![
            Just(vec![2, 6, 65, 4, 0, 0, 0xFD, 0xEA]),
            vec(prop_oneof![0_u8..10, any::<u8>()], 0..12),
        ],
    ) {
        let mut body = vec![fixed.0];
        body.extend(fixed.1);
        body[zero].fill(0);
        body.push(u8::try_from(parameters.len()).unwrap());
        body.extend(parameters);
        let octets = framed(1, &body);
        let options = Options::default();
        let said = decode(&octets, &options).expect("a whole message");
        let (mut speaker, conn) = waiting(&options);
        speaker.received(Time(0), conn, &octets);
        let told = told(&mut speaker, conn);
        // Past what a message says of itself, a session also knows whom it expects.
        if said.verdict == Outcome::SessionReset {
            prop_assert_eq!(said.reset, told);
        } else {
            let subcode = told.map_or(0, |told| told.subcode);
            prop_assert!(matches!(subcode, 0 | 2 | 3 | 7), "{}", subcode);
        }
    }
}

/// RFC 7606, 3 j and 5.3; RFC 4760, 7; RFC 4271, 6.3.
#[test]
fn a_session_ends_with_the_subcode_of_the_place_where_a_prefix_cannot_be_read() {
    let options = Options::default();
    let mandatory = [GOOD[0], GOOD[1], GOOD[4]].concat();
    let mut reach = REACH.to_vec();
    reach[24] = 129;
    let unreach = [0x80, 15, 5, 0, 1, 1, 24, 10];
    for (octets, subcode, data) in [
        (update(&[33, 1], &[], &[]), 10, &[][..]),
        (update(&[], &mandatory, &[33, 1]), 10, &[]),
        (
            update(&[], &[&mandatory[..], &reach].concat(), &[]),
            9,
            &reach,
        ),
        (update(&[], &unreach, &[]), 9, &unreach),
    ] {
        let (mut speaker, conn) = established(&options);
        speaker.received(Time(0), conn, &octets);
        let told = told(&mut speaker, conn).unwrap();
        assert_eq!(
            (told.code, told.subcode, &told.data.0[..]),
            (3, subcode, data)
        );
        agree(&octets, &options);
    }
}
