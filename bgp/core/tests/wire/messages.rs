//! The header, OPEN, NOTIFICATION, KEEPALIVE and ROUTE-REFRESH.

use wayleave_bgp_core::{
    Asn, Family, RouterId,
    wire::{
        Capabilities, Cease, Fqdn, FsmError, GracefulRestart, MAX_EXTENDED, MAX_MESSAGE,
        MessageKind, Notification, Open, OpenError, RefreshError, RouteRefresh, UpdateError, frame,
        keepalive,
    },
};

use crate::build::hex;

fn message(len: u16, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xFF; 16];
    out.extend_from_slice(&len.to_be_bytes());
    out.push(kind);
    out.extend_from_slice(body);
    out
}

/// RFC 4271, 6.1; RFC 2918, 3; RFC 8654, 4.
#[test]
fn every_length_a_type_cannot_have_is_a_bad_message_length() {
    let cases: [(u8, MessageKind, u16, u16, u16); 5] = [
        (1, MessageKind::Open, 29, 4096, 4096),
        (2, MessageKind::Update, 23, 4096, 65_535),
        (3, MessageKind::Notification, 21, 4096, 65_535),
        (4, MessageKind::Keepalive, 19, 19, 19),
        (5, MessageKind::RouteRefresh, 23, 4096, 65_535),
    ];
    for (code, kind, shortest, longest, longest_extended) in cases {
        for (max_len, longest) in [(MAX_MESSAGE, longest), (MAX_EXTENDED, longest_extended)] {
            for len in [0, 18, 19, 20, 21, 22, 23, 28, 29, 4095, 4096, 4097, 65_535] {
                // Only the header is there: it is judged before the body has come.
                let read = frame(&message(len, code, &[]), max_len).map(|found| found.is_none());
                if len < shortest || len > longest {
                    let error = read.expect_err("a bad length");
                    assert_eq!((error.code, error.subcode), (1, 2), "{kind:?} of {len}");
                    assert_eq!(error.data, len.to_be_bytes());
                } else {
                    assert_eq!(read, Ok(len > 19), "{kind:?} of {len}");
                }
            }
        }
        let whole = message(shortest, code, &vec![7; usize::from(shortest) - 19]);
        let framed = frame(&[whole.as_slice(), &[1, 2, 3]].concat(), MAX_MESSAGE)
            .unwrap()
            .map(|found| (found.kind, found.len, found.body.to_vec()));
        assert_eq!(framed, Some((kind, shortest.into(), whole[19..].to_vec())));
        for cut in 0..whole.len() {
            assert_eq!(frame(&whole[..cut], MAX_MESSAGE), Ok(None), "{cut} octets");
        }
    }
}

/// RFC 4271, 6.1.
#[test]
fn a_wrong_marker_and_an_unknown_type_have_their_subcodes() {
    for octet in 0..16 {
        let mut bad = message(19, 4, &[]);
        bad[octet] = 0xFE;
        let error = frame(&bad, MAX_MESSAGE).unwrap_err();
        assert_eq!((error.code, error.subcode, error.data.len()), (1, 1, 0));
    }
    for kind in [0, 6, 128, 255] {
        let error = frame(&message(19, kind, &[]), MAX_MESSAGE).unwrap_err();
        assert_eq!((error.code, error.subcode, error.data), (1, 3, vec![kind]));
    }
    assert_eq!(keepalive().as_slice(), message(19, 4, &[]));
}

fn open_body(parameters: &str) -> Vec<u8> {
    hex(&format!("04 fde9 005a c0000201 {parameters}"))
}

fn refused(body: &[u8]) -> (u8, u8, Vec<u8>) {
    let error = Open::decode(body).expect_err("it is malformed");
    (error.code, error.subcode, error.data)
}

/// RFC 4271, 6.2; RFC 6286, 2.1; RFC 7607, 2.
#[test]
fn every_error_in_an_open_has_its_subcode() {
    assert_eq!(
        refused(&hex("03 fde9 005a c0000201 00")),
        (2, 1, vec![0, 4])
    );
    assert_eq!(refused(&hex("04 0000 005a c0000201 00")).1, 2);
    assert_eq!(
        refused(&hex("04 5ba0 005a c0000201 08 02 06 41 04 00000000")).1,
        2
    );
    assert_eq!(refused(&hex("04 fde9 0001 c0000201 00")).1, 6);
    assert_eq!(refused(&hex("04 fde9 0002 c0000201 00")).1, 6);
    assert!(Open::decode(&hex("04 fde9 0000 c0000201 00")).is_ok());
    assert!(Open::decode(&hex("04 fde9 0003 c0000201 00")).is_ok());
    assert_eq!(refused(&hex("04 fde9 005a 00000000 00")).1, 3);
    for unknown in ["02 01 00", "03 fe 01 00", "04 02 00 ff 00"] {
        assert_eq!(refused(&open_body(unknown)), (2, 4, vec![]), "{unknown}");
    }
    for malformed in [
        "",                       // no length of the optional parameters
        "01",                     // longer than the message
        "00 00",                  // shorter than the message
        "01 02",                  // no length of the parameter
        "02 02 01",               // a parameter longer than the parameters
        "03 02 01 01",            // a capability without a length
        "04 02 02 01 01",         // a capability longer than the parameter
        "05 02 03 01 01 00",      // multiprotocol of one octet
        "06 02 04 41 02 fde9",    // a four-octet AS number of two
        "05 02 03 40 01 00",      // graceful restart of one octet
        "07 02 05 40 03 0000 00", // a family of one octet in it
        "07 02 05 45 03 0001 01", // ADD-PATH of three octets
        "07 02 05 05 03 0001 00", // extended next hop of three octets
        "04 02 02 09 00",         // no role
    ] {
        assert_eq!(refused(&open_body(malformed)).1, 0, "{malformed}");
    }
    assert_eq!(refused(&open_body("08 02 06 09 01 00 09 01 01")).1, 11);
    assert!(Open::decode(&open_body("08 02 06 09 01 03 09 01 03")).is_ok());
    for cut in 0..9 {
        assert_eq!(Open::decode(&open_body("00")[..cut]).unwrap_err().code, 1);
    }
}

#[test]
fn the_as_number_is_the_capabilitys_where_there_is_one() {
    let open = Open::decode(&hex("04 5ba0 005a c0000201 08 02 06 41 04 fa56ea00")).unwrap();
    assert_eq!(open.asn, Asn(4_200_000_000));
    assert_eq!(open.capabilities.as4, Some(Asn(4_200_000_000)));
    assert_eq!(Open::decode(&open_body("00")).unwrap().asn, Asn(65_001));
}

fn all_capabilities() -> Capabilities {
    Capabilities {
        families: vec![(1, 1), (2, 1), (25, 70)],
        route_refresh: true,
        enhanced_refresh: true,
        extended_message: true,
        as4: Some(Asn(4_200_000_000)),
        add_path: vec![(1, 1, 1), (2, 1, 3)],
        graceful_restart: Some(GracefulRestart {
            restarting: true,
            notification: true,
            time: 120,
            families: vec![(1, 1, true), (2, 1, false)],
        }),
        long_lived: Some(vec![(1, 1, true, 86_400)]),
        extended_next_hop: vec![(1, 1, 2)],
        role: Some(3),
        hostname: Some(Fqdn {
            host: "rack7".to_owned(),
            domain: "example.net".to_owned(),
        }),
        unknown: vec![(200, vec![1, 2, 3])],
    }
}

#[test]
fn capabilities_are_described_in_words() {
    assert_eq!(
        all_capabilities().describe(),
        [
            "multiprotocol ipv4-unicast",
            "multiprotocol ipv6-unicast",
            "multiprotocol afi-25-safi-70",
            "route-refresh",
            "enhanced-route-refresh",
            "four-octet-as 4200000000",
            "extended-message",
            "add-path ipv4-unicast receive",
            "add-path ipv6-unicast send-receive",
            "extended-next-hop ipv4-unicast over ipv6",
            "graceful-restart 120s, restarted, on notification too, ipv4-unicast forwarding \
             kept, ipv6-unicast",
            "long-lived-graceful-restart ipv4-unicast 86400s, forwarding kept",
            "role customer",
            "hostname rack7.example.net",
            "capability 200 (3 octets)",
        ]
    );
}

/// RFC 9072, 2.
#[test]
fn an_open_past_255_octets_of_parameters_takes_the_extended_form_and_no_other_does() {
    let mut open = Open {
        asn: Asn(4_200_000_000),
        hold_time: 90,
        router_id: RouterId::from(0xC000_0201),
        capabilities: all_capabilities(),
    };
    for octets in 0..300 {
        open.capabilities.unknown = vec![
            (200, vec![0; octets / 2]),
            (201, vec![0; octets.div_ceil(2)]),
        ];
        let mut out = Vec::new();
        open.encode(&mut out);
        let framed = frame(&out, MAX_MESSAGE).unwrap().unwrap();
        let extended = framed.body[9] == 255 && framed.body[10] == 255;
        let parameters = framed.body.len() - if extended { 13 + 1 } else { 10 };
        assert_eq!(extended, parameters > 255, "{parameters} octets");
        assert_eq!(Open::decode(framed.body), Ok(open.clone()));
    }
    // "it MUST be ignored on receipt once the use of the extended format is determined"
    let body = open_body("01 ff 0009 02 0006 41 04 fa56ea00");
    assert_eq!(Open::decode(&body).unwrap().asn, Asn(4_200_000_000));
    assert_eq!(
        Open::decode(&open_body("ff ff 0000")).unwrap().capabilities,
        Capabilities::default()
    );
    for malformed in [
        "ff ff 0001",
        "ff ff 0001 02",
        "ff ff 0004 02 0002 41",
        "ff ff 00",
    ] {
        assert_eq!(refused(&open_body(malformed)).1, 0, "{malformed}");
    }
}

/// RFC 5492, 4 allows a capability to come more than once; RFC 7911, 4 for modes.
#[test]
fn repeated_capabilities_add_up_and_senseless_modes_are_ignored() {
    let open = Open::decode(&open_body(
        "1e 02 1c 0104 0001 00 01 0104 0002 00 01 0104 0001 00 01 4508 0001 01 04 0002 01 01",
    ));
    let capabilities = open.unwrap().capabilities;
    assert_eq!(capabilities.families, [(1, 1), (2, 1)]);
    assert_eq!(capabilities.add_path, [(2, 1, 1)]);
}

#[test]
fn a_hostile_host_name_does_not_reach_the_terminal() {
    let open = Open::decode(&open_body("0b 02 09 49 07 05 1b5b326a0a 00")).unwrap();
    assert_eq!(open.capabilities.describe(), [r"hostname \u{1b}[2j\n"]);
}

/// RFC 4271, 4.5 and 6; RFC 4486, 3; RFC 6608, 3; RFC 7313, 5; RFC 8538, 3; RFC 9687, 4.
#[test]
fn every_notification_has_its_code_and_its_words() {
    for (notification, words) in [
        (
            Notification::open_error(OpenError::BadPeerAs),
            "OPEN Message Error: Bad Peer AS (2/2)",
        ),
        (
            Notification::open_error(OpenError::RoleMismatch),
            "OPEN Message Error: Role Mismatch (2/11)",
        ),
        (
            Notification::update_error(UpdateError::MalformedAsPath),
            "UPDATE Message Error: Malformed AS_PATH (3/11)",
        ),
        (
            Notification::update_error(UpdateError::MissingWellKnown).with_data(vec![1]),
            "UPDATE Message Error: Missing Well-known Attribute (3/3), data 01",
        ),
        (
            Notification::hold_timer_expired(),
            "Hold Timer Expired (4/0)",
        ),
        (
            Notification::fsm_error(FsmError::UnexpectedInEstablished),
            "Finite State Machine Error: Unexpected Message in Established (5/3)",
        ),
        (
            Notification::fsm_error(FsmError::Unspecific),
            "Finite State Machine Error (5/0)",
        ),
        (
            Notification::cease(Cease::CollisionResolution, Some("no text belongs here")),
            "Cease: Connection Collision Resolution (6/7)",
        ),
        (
            Notification::cease(Cease::AdministrativeShutdown, Some("moving racks")),
            "Cease: Administrative Shutdown (6/2): \"moving racks\"",
        ),
        (
            Notification::maximum_prefixes(Family::Ipv6Unicast, 1000),
            "Cease: Maximum Number of Prefixes Reached (6/1): at most 1000 of ipv6-unicast",
        ),
        (
            Notification::hard_reset(&Notification::cease(
                Cease::AdministrativeReset,
                Some("new keys"),
            )),
            "Cease: Hard Reset (6/9): Administrative Reset (6/4): \"new keys\"",
        ),
        (
            Notification::refresh_error(RefreshError::InvalidLength),
            "ROUTE-REFRESH Message Error: Invalid Message Length (7/1)",
        ),
        (
            Notification::send_hold_timer_expired(),
            "Send Hold Timer Expired (8/0)",
        ),
        (Notification::new(6, 99), "Cease (6/99)"),
        (Notification::new(77, 1), "Unknown error (77/1)"),
        (
            Notification::new(3, 5).with_data((0..20).collect()),
            "UPDATE Message Error: Attribute Length Error (3/5), data 00 01 02 03 04 05 06 07 08 \
             09 0a 0b 0c 0d 0e 0f and 4 octets more",
        ),
    ] {
        assert_eq!(notification.to_string(), words);
        let mut out = Vec::new();
        notification.encode(&mut out);
        let framed = frame(&out, MAX_MESSAGE).unwrap().unwrap();
        assert_eq!(Notification::decode(framed.body), notification);
    }
}

/// RFC 9003, 2 and 4.
#[test]
fn a_shutdown_text_is_cut_at_a_character_and_shown_without_its_teeth() {
    let text = |octets: &[u8]| {
        Notification::new(6, 2)
            .with_data(octets.to_vec())
            .communication()
    };
    assert_eq!(text(b"\x05hello"), Some("hello".to_owned()));
    assert_eq!(text(b"\x05hello and more"), Some("hello".to_owned()));
    assert_eq!(
        text(b"\x20hello"),
        Some("hello".to_owned()),
        "longer than the data"
    );
    assert_eq!(text(b"\x00"), None);
    assert_eq!(text(b""), None);
    assert_eq!(text(b"\x04\x1b[2J"), Some(r"\u{1b}[2J".to_owned()));
    assert_eq!(text(b"\x02a\xff"), Some("a\u{fffd}".to_owned()));
    assert_eq!(
        text("\u{3}\u{202e}".as_bytes()),
        Some(r"\u{202e}".to_owned())
    );
    assert_eq!(
        Notification::new(6, 3)
            .with_data(b"\x01x".to_vec())
            .communication(),
        None
    );
    let long = "\u{e9}".repeat(200);
    let notification = Notification::cease(Cease::AdministrativeReset, Some(&long));
    assert_eq!((notification.data.len(), notification.data[0]), (255, 254));
    assert_eq!(notification.communication(), Some("\u{e9}".repeat(127)));
}

/// RFC 4271, 6.4: nothing may answer a NOTIFICATION, so anything is one.
#[test]
fn notifications_without_their_octets_and_with_too_many_are_still_notifications() {
    assert_eq!(Notification::decode(&[]), Notification::new(0, 0));
    assert_eq!(Notification::decode(&[6]), Notification::new(6, 0));
    let mut out = Vec::new();
    Notification::new(1, 1)
        .with_data(vec![7; 70_000])
        .encode(&mut out);
    assert_eq!(out.len(), MAX_MESSAGE);
    assert!(frame(&out, MAX_MESSAGE).unwrap().is_some());
    let mut nested = Notification::new(6, 9);
    for _ in 0..500 {
        nested = Notification::hard_reset(&nested);
    }
    assert!(nested.to_string().len() < 200);
}

/// RFC 2918, 3; RFC 7313, 5.
#[test]
fn route_refresh_says_its_subtype_and_refuses_wrong_lengths() {
    for subtype in [
        RouteRefresh::REQUEST,
        RouteRefresh::BEGIN,
        RouteRefresh::END,
    ] {
        let refresh = RouteRefresh {
            afi: 2,
            safi: 1,
            subtype,
        };
        let mut out = Vec::new();
        refresh.encode(&mut out);
        assert_eq!(out[16..], [0, 23, 5, 0, 2, subtype, 1]);
        assert_eq!(RouteRefresh::decode(&out[19..]), Ok(refresh));
        let longer = [&out[19..], &[0]].concat();
        let read = RouteRefresh::decode(&longer);
        if subtype == RouteRefresh::REQUEST {
            // An outbound route filter (RFC 5291): the request stands.
            assert_eq!(read, Ok(refresh));
        } else {
            let error = read.expect_err("not four octets");
            assert_eq!((error.code, error.subcode), (7, 1));
            assert_eq!(error.data, message(24, 5, &longer), "the complete message");
        }
    }
    assert_eq!(RouteRefresh::decode(&[0, 1, 0]).unwrap_err().code, 1);
}
