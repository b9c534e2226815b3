//! Messages as objects: what a session would do with them, what is in them, and back.

use serde_json::{Value, json};
use wayleave_bgp_core::{
    Family,
    message::{Decoded, Hex, HexStream, InputError, Options, Outcome, Step, decode, encode, next},
    wire::{MessageKind, Notification, Verdict, parse_attributes},
};

use crate::{
    build::{INTERNAL, OPTIONAL, TRANSITIVE, attr, mp_reach, next_hop, with_mandatory_but},
    rfc7606::rows,
};

const BOTH: u8 = OPTIONAL | TRANSITIVE;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xFF; 16];
    let len = u16::try_from(19 + body.len()).expect("a test's message fits");
    out.extend_from_slice(&len.to_be_bytes());
    out.push(kind);
    out.extend_from_slice(body);
    out
}

fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let field = |octets: &[u8]| {
        let len = u16::try_from(octets.len()).expect("a test's field fits");
        [&len.to_be_bytes(), octets].concat()
    };
    message(
        2,
        &[&field(withdrawn)[..], &field(attributes), nlri].concat(),
    )
}

fn open(fixed: [u8; 9], parameters: &[u8]) -> Vec<u8> {
    let len = u8::try_from(parameters.len()).expect("a test's parameters fit");
    message(1, &[&fixed[..], &[len], parameters].concat())
}

fn read(octets: &[u8]) -> Decoded {
    decode(octets, &Options::default()).expect("a whole message")
}

fn to_json(octets: &[u8]) -> Value {
    serde_json::to_value(read(octets)).expect("plain data")
}

/// Verdict, section, and code and subcode.
fn judged(octets: &[u8]) -> (Outcome, String, Option<(u8, u8)>) {
    let decoded = read(octets);
    (
        decoded.verdict,
        decoded.section.unwrap_or_default(),
        decoded.reset.map(|reset| (reset.code, reset.subcode)),
    )
}

fn reset(section: &str, code: u8, subcode: u8) -> (Outcome, String, Option<(u8, u8)>) {
    (
        Outcome::SessionReset,
        section.to_owned(),
        Some((code, subcode)),
    )
}

#[test]
fn headers_are_judged_with_their_section() {
    let mut bad = message(4, &[]);
    bad[3] = 0;
    assert_eq!(judged(&bad), reset("RFC 4271, 6.1", 1, 1));
    assert_eq!(judged(&message(4, &[0])), reset("RFC 4271, 6.1", 1, 2));
    assert_eq!(judged(&message(9, &[0])), reset("RFC 4271, 6.1", 1, 3));
    assert_eq!(
        judged(&message(2, &[0; 4100])),
        reset("RFC 4271, 6.1", 1, 2)
    );
    assert_eq!(
        to_json(&message(9, &[1])),
        json!({
            "type": null,
            "verdict": "session-reset",
            "section": "RFC 4271, 6.1",
            "reset": {
                "code": 1, "subcode": 3,
                "name": "Message Header Error: Bad Message Type", "data": "09",
            },
            "problems": [{
                "verdict": "session-reset", "what": "a type that is not known",
                "section": "RFC 4271, 6.1",
            }],
            "hex": "ffffffffffffffffffffffffffffffff00140901",
        })
    );
    let extended = Options {
        extended: true,
        extended_next_hop: false,
        ..Options::default()
    };
    let long = update(&[], &with_mandatory_but(0, &[]), &[16, 10, 1].repeat(2000));
    let decoded = decode(&long, &extended).expect("whole");
    assert_eq!(decoded.verdict, Outcome::Ok);
    assert_eq!(decoded.update.expect("content").nlri.len(), 2000);
}

#[test]
fn an_open_shows_every_capability_and_all_that_is_wrong() {
    let parameters = [
        &[2, 6, 1, 4, 0, 2, 0, 1][..],
        &[2, 6, 65, 4, 0xFA, 0x56, 0xEA, 0],
        &[2, 8, 64, 6, 0x40, 120, 0, 1, 1, 0x80],
        &[2, 5, 99, 3, 1, 2, 3],
        &[2, 6, 69, 4, 0, 1, 1, 3],
    ]
    .concat();
    let good = open([4, 0x5B, 0xA0, 0, 90, 192, 0, 2, 1], &parameters);
    assert_eq!(
        to_json(&good),
        json!({
            "type": "OPEN", "verdict": "ok", "section": null, "reset": null, "problems": [],
            "open": {
                "version": 4, "my_as": 23456, "asn": 4_200_000_000_u32, "hold_time": 90,
                "identifier": "192.0.2.1",
                "capabilities": [
                    {"code": 1, "name": "multiprotocol", "family": "ipv6-unicast"},
                    {"code": 65, "name": "four-octet-as", "asn": 4_200_000_000_u32},
                    {
                        "code": 64, "name": "graceful-restart", "restarting": false,
                        "notification": true, "time": 120,
                        "families": [{"family": "ipv4-unicast", "forwarding": true}],
                    },
                    {"code": 99, "hex": "010203"},
                    {
                        "code": 69, "name": "add-path",
                        "families": [{"family": "ipv4-unicast", "mode": "send-receive"}],
                    },
                ],
            },
        })
    );
    for (fixed, section, subcode) in [
        ([3, 0, 1, 0, 90, 192, 0, 2, 1], "RFC 4271, 6.2", 1),
        ([4, 0, 0, 0, 90, 192, 0, 2, 1], "RFC 7607, 2", 2),
        ([4, 0, 1, 0, 90, 0, 0, 0, 0], "RFC 6286, 2.1", 3),
        ([4, 0, 1, 0, 2, 192, 0, 2, 1], "RFC 4271, 6.2", 6),
    ] {
        assert_eq!(judged(&open(fixed, &[])), reset(section, 2, subcode));
    }
    let fixed = [4, 0, 1, 0, 90, 192, 0, 2, 1];
    assert_eq!(
        judged(&open(fixed, &[1, 1, 0])),
        reset("RFC 4271, 6.2", 2, 4)
    );
    assert_eq!(
        judged(&open(fixed, &[2, 3, 65, 4, 0])),
        reset("RFC 4271, 6.2", 2, 0)
    );
    let roles = [2, 6, 9, 1, 0, 9, 1, 3];
    assert_eq!(judged(&open(fixed, &roles)), reset("RFC 9234, 4.2", 2, 11));
    // All at once, in the order in which a session looks.
    let all = read(&open([3, 0, 0, 0, 1, 0, 0, 0, 0], &[1, 0]));
    assert_eq!(all.reset.expect("a reset").subcode, 1);
    let sections: Vec<_> = all
        .problems
        .iter()
        .map(|problem| problem.section.as_str())
        .collect();
    assert_eq!(
        sections,
        [
            "RFC 4271, 6.2",
            "RFC 4271, 6.2",
            "RFC 7607, 2",
            "RFC 4271, 6.2",
            "RFC 6286, 2.1"
        ]
    );
    let content = all.open.expect("content");
    assert_eq!(content.parameters, Some(Hex(vec![2, 1, 0])));
}

#[test]
fn an_update_shows_every_attribute_by_name() {
    let attributes = [
        attr(OPTIONAL, 14, &mp_reach(2, 32, &[32, 0x20, 1, 0x0d, 0xb8])),
        with_mandatory_but(0, &[]),
        attr(OPTIONAL, 4, &[0, 0, 0, 7]),
        attr(BOTH | 0x20, 8, &[0xFF, 0xFF, 0xFF, 1, 0xFD, 0xE9, 0, 7]),
        attr(BOTH, 16, &[0, 2, 0xFD, 0xEA, 0, 0, 0, 100]),
        attr(BOTH, 32, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]),
        attr(BOTH, 35, &[0, 0, 0xFD, 0xE9]),
        attr(BOTH, 99, &[1, 2]),
    ]
    .concat();
    let octets = update(&[8, 10], &attributes, &[24, 198, 51, 100]);
    assert_eq!(
        to_json(&octets)["update"],
        json!({
            "withdrawn": [{"prefix": "10.0.0.0/8"}],
            "attributes": {
                "origin": "igp",
                "as_path": [{"sequence": [65001, 65002]}],
                "next_hop": "192.0.2.1",
                "med": 7,
                "communities": ["no-export", "65001:7"],
                "mp_reach": {
                    "family": "ipv6-unicast",
                    "next_hops": [
                        "2020:2020:2020:2020:2020:2020:2020:2020",
                        "2020:2020:2020:2020:2020:2020:2020:2020",
                    ],
                    "nlri": [{"prefix": "2001:db8::/32"}],
                },
                "extended_communities": ["rt:65002:100"],
                "large_communities": ["1:2:3"],
                "only_to_customer": 65001,
                "partial": ["COMMUNITIES"],
                "other": [{"code": 99, "flags": "c0", "hex": "0102"}],
            },
            "nlri": [{"prefix": "198.51.100.0/24"}],
            "end_of_rib": null,
        })
    );
    let end = |attributes: &[u8]| {
        read(&update(&[], attributes, &[]))
            .update
            .expect("content")
            .end_of_rib
    };
    assert_eq!(end(&[]), Some(Family::Ipv4Unicast.into()));
    assert_eq!(
        end(&attr(OPTIONAL, 15, &[0, 2, 1])),
        Some(Family::Ipv6Unicast.into())
    );
    assert_eq!(end(&attr(OPTIONAL, 15, &[0, 2, 1, 0])), None);
    // A family that is not ours is kept as it is.
    let evpn = attr(OPTIONAL, 15, &[0, 25, 70, 2, 1, 0]);
    let decoded = read(&update(&[], &evpn, &[]));
    assert_eq!(decoded.verdict, Outcome::Ok);
    assert_eq!(decoded.problems[0].section, "RFC 4760, 8");
    let unreach = decoded
        .update
        .and_then(|update| update.attributes.mp_unreach);
    assert_eq!(
        serde_json::to_value(unreach).expect("plain data"),
        json!({"family": "afi-25-safi-70", "nlri": [], "nlri_unread": "020100"})
    );
}

/// RFC 4271, 6.3; RFC 7606, 3 j and 5.3; RFC 4760, 7.
#[test]
fn a_list_of_prefixes_that_cannot_be_read_resets_with_the_subcode_of_its_place() {
    let bad = [24, 198, 51, 100, 33, 1];
    let section = "RFC 7606, 5.3";
    let withdrawn = update(&bad, &[], &[]);
    assert_eq!(judged(&withdrawn), reset(section, 3, 10));
    let announced = update(&[], &with_mandatory_but(0, &[]), &bad);
    assert_eq!(judged(&announced), reset(section, 3, 10));
    for (octets, unread) in [(withdrawn, "withdrawn"), (announced, "nlri")] {
        let json = to_json(&octets);
        assert_eq!(
            json["update"][unread],
            json!([{"prefix": "198.51.100.0/24"}])
        );
        assert_eq!(json["update"][format!("{unread}_unread")], "2101");
    }
    let mut value = mp_reach(2, 16, &[16, 0x20, 1, 129]);
    let reach = attr(OPTIONAL, 14, &value);
    let decoded = read(&update(&[], &with_mandatory_but(3, &reach), &[]));
    let end = decoded.reset.expect("a reset");
    assert_eq!((end.code, end.subcode, end.data), (3, 9, Hex(reach)));
    assert_eq!(decoded.section.as_deref(), Some(section));
    let unreach = attr(OPTIONAL, 15, &[0, 1, 1, 24, 10]);
    let octets = update(&[], &unreach, &[]);
    assert_eq!(judged(&octets), reset(section, 3, 9));
    assert_eq!(to_json(&octets)["reset"]["data"], Hex(unreach).to_string());
    // Of a family that is not ours nobody looks.
    value[1] = 25;
    let reach = attr(OPTIONAL, 14, &value);
    let octets = update(&[], &with_mandatory_but(3, &reach), &[]);
    assert_eq!(read(&octets).verdict, Outcome::Ok);
}

#[test]
fn the_strongest_of_several_errors_decides_and_all_are_told() {
    let attributes = [
        attr(TRANSITIVE, 1, &[9]),
        next_hop(),
        attr(TRANSITIVE, 6, &[1]),
        attr(OPTIONAL, 15, &[1]),
        attr(OPTIONAL, 4, &[1]),
        vec![OPTIONAL, 4],
    ]
    .concat();
    let decoded = read(&update(&[40, 1], &attributes, &[99]));
    let end = decoded.reset.expect("a reset");
    assert_eq!(
        (end.code, end.subcode),
        (3, 10),
        "the withdrawn routes come first"
    );
    let found: Vec<_> = decoded
        .problems
        .iter()
        .map(|found| (found.verdict, found.attribute, found.section.as_str()))
        .collect();
    use Outcome::{AttributeDiscard, SessionReset, TreatAsWithdraw};
    assert_eq!(
        found,
        [
            (SessionReset, None, "RFC 7606, 5.3"),
            (TreatAsWithdraw, Some(1), "RFC 7606, 7.1"),
            (AttributeDiscard, Some(6), "RFC 7606, 7.6"),
            (SessionReset, Some(15), "RFC 7606, 5.3"),
            (TreatAsWithdraw, Some(4), "RFC 7606, 7.4"),
            (TreatAsWithdraw, None, "RFC 7606, 4"),
            (TreatAsWithdraw, Some(2), "RFC 7606, 3 d"),
            (SessionReset, None, "RFC 7606, 5.3"),
        ]
    );
}

/// Whatever the table of RFC 7606 says of an attribute, the object says too.
#[test]
fn every_row_of_rfc_7606_is_told_with_its_section() {
    for row in rows() {
        let options = Options {
            as4: row.context.as4,
            ebgp: row.context.ebgp,
            ..Options::default()
        };
        for &len in row.bad_lengths {
            let mut value = row.good.clone();
            value.resize(len, 1);
            let bad = attr(row.flags, row.code, &value);
            let octets = update(&[], &row.with_mandatory(&bad), &[8, 10]);
            let decoded = decode(&octets, &options).expect("whole");
            let found = &decoded.problems[0];
            assert_eq!(decoded.section.as_deref(), Some(row.section));
            assert_eq!(
                (found.attribute, found.verdict),
                (Some(row.code), decoded.verdict)
            );
            // It is shown as it came.
            let content = decoded.update.expect("content");
            let other = content.attributes.other;
            if (row.code, len) == (17, 0) {
                // A path without segments can be said, if only AS_PATH may be one.
                assert_eq!(content.attributes.as4_path, Some(Vec::new()));
                continue;
            }
            assert_eq!(other.len(), 1, "attribute {}", row.code);
            assert_eq!((other[0].code, &other[0].hex.0), (row.code, &value));
        }
        let good = attr(row.flags, row.code, &row.good);
        let octets = update(&[], &row.with_mandatory(&good), &[8, 10]);
        let decoded = decode(&octets, &options).expect("whole");
        assert_eq!(decoded.verdict, Outcome::Ok);
        let content = decoded.update.expect("content");
        assert_eq!(
            content.attributes.other,
            [],
            "attribute {} has a field",
            row.code
        );
    }
}

#[test]
fn names_of_verdicts_are_those_of_the_session() {
    let name = |outcome: Outcome| serde_json::to_value(outcome).expect("a name");
    let raw = with_mandatory_but(1, &attr(TRANSITIVE, 1, &[9]));
    let parsed = parse_attributes(&raw, &INTERNAL, true, &mut Vec::new());
    assert_eq!(name(Outcome::TreatAsWithdraw), parsed.verdict.name());
    let malformed = parsed.malformed.expect("a reason");
    assert_eq!(
        name(Outcome::AttributeDiscard),
        Verdict::Discard(malformed).name()
    );
    assert_eq!(name(Outcome::Ok), Verdict::Ok.name());
    let reset = Notification::new(3, 1);
    assert_eq!(name(Outcome::SessionReset), Verdict::Reset(reset).name());
}

#[test]
fn a_notification_is_told_in_words_with_the_operators_text() {
    let octets = message(3, &[&[6, 2, 12][..], b"moving racks"].concat());
    let json = to_json(&octets);
    assert_eq!(json["verdict"], "ok");
    assert_eq!(
        json["notification"],
        json!({
            "code": 6, "subcode": 2, "code_name": "Cease",
            "subcode_name": "Administrative Shutdown",
            "data": "0c6d6f76696e67207261636b73", "communication": "moving racks",
            "text": "Cease: Administrative Shutdown (6/2): \"moving racks\"",
        })
    );
    // Nothing answers an error in a NOTIFICATION (RFC 4271, 6.4): it is only told.
    let decoded = read(&message(3, &[6, 2, 9, b'x']));
    assert_eq!(decoded.verdict, Outcome::Ok);
    assert_eq!(decoded.problems[0].section, "RFC 9003, 4");
    let unknown = to_json(&message(3, &[99, 1]));
    assert_eq!(unknown["notification"]["code_name"], Value::Null);
}

#[test]
fn a_refresh_is_told_with_its_subtype() {
    let json = to_json(&message(5, &[0, 2, 1, 1]));
    assert_eq!(
        json["route_refresh"],
        json!({"family": "ipv6-unicast", "subtype": 1, "subtype_name": "beginning"})
    );
    assert_eq!(
        judged(&message(5, &[0, 2, 1, 1, 0])),
        reset("RFC 7313, 5", 7, 1)
    );
    let unknown = read(&message(5, &[0, 2, 9, 1]));
    assert_eq!(unknown.verdict, Outcome::Ok);
    assert_eq!(unknown.problems[0].section, "RFC 7313, 5");
}

#[test]
fn what_cannot_be_made_is_refused_with_the_field() {
    let refused = |json: Value| {
        let decoded: Decoded = serde_json::from_value(json).expect("the right shape");
        let mut out = Vec::new();
        let error = encode(&decoded, &Options::default(), &mut out).expect_err("refused");
        assert!(out.is_empty());
        error.to_string()
    };
    for (json, field) in [
        (json!({}), "`type`"),
        (json!({"type": "UPDATE"}), "`update`"),
        (
            json!({"type": "UPDATE", "update": {"nlri": ["2001:db8::/32"]}}),
            "`update.nlri[0]`",
        ),
        (
            json!({"type": "UPDATE", "update": {"nlri": [{"prefix": "10.0.0.0/8", "path_id": 1}]}}),
            "`update.nlri[0]`",
        ),
        (
            json!({"type": "UPDATE", "update": {"attributes": {"as_path": [{"sequence": []}]}}}),
            "`update.attributes.as_path[0]`",
        ),
        (
            json!({"type": "UPDATE", "update": {"attributes": {"partial": ["ORIGIN"]}}}),
            "`update.attributes.partial[0]`",
        ),
        (
            json!({"type": "UPDATE", "update": {"end_of_rib": "ipv6"}}),
            "`update.end_of_rib`",
        ),
        (
            json!({"type": "UPDATE", "update": {"attributes": {"other": [
                {"code": 99, "flags": "c0", "hex": "00".repeat(5000)}]}}}),
            "`update`",
        ),
        (
            json!({"type": "OPEN", "open": {"my_as": 1, "hold_time": 9, "identifier": "1.1.1.1",
                "capabilities": [{"code": 65}]}}),
            "`open.capabilities[0]`",
        ),
        (
            json!({"type": "NOTIFICATION", "notification": {"code": 3, "communication": "x"}}),
            "`notification.communication`",
        ),
    ] {
        let told = refused(json);
        assert!(told.starts_with(field), "{told}");
    }
    let two_octets = Options {
        as4: false,
        ..Options::default()
    };
    let json = json!({"type": "UPDATE",
        "update": {"attributes": {"as_path": [{"sequence": [4_200_000_000_u32]}]}}});
    let decoded: Decoded = serde_json::from_value(json).expect("the right shape");
    let error = encode(&decoded, &two_octets, &mut Vec::new()).expect_err("refused");
    assert!(error.what.contains("does not fit two octets"), "{error}");
}

#[test]
fn what_people_write_by_hand_is_enough() {
    let made = |json: Value| {
        let decoded: Decoded = serde_json::from_value(json).expect("the right shape");
        let mut out = Vec::new();
        encode(&decoded, &Options::default(), &mut out).expect("made");
        read(&out)
    };
    let keepalive = made(json!({"type": "KEEPALIVE"}));
    assert_eq!(keepalive.kind, Some(MessageKind::Keepalive));
    let shutdown = made(json!({"type": "NOTIFICATION",
        "notification": {"code": 6, "subcode": 2, "communication": "bye"}}));
    assert_eq!(
        shutdown
            .notification
            .and_then(|notification| notification.communication),
        Some("bye".to_owned())
    );
    let update = made(json!({"type": "UPDATE", "update": {
        "attributes": {"origin": "igp", "as_path": [], "next_hop": "192.0.2.1"},
        "nlri": ["10.1.0.0/16"],
    }}));
    assert_eq!(update.verdict, Outcome::Ok);
    let open = made(json!({"type": "OPEN", "open": {
        "my_as": 65001, "hold_time": 90, "identifier": "192.0.2.1",
        "capabilities": [{"code": 2}, {"code": 1, "family": "ipv4"}],
    }}));
    assert_eq!(open.verdict, Outcome::Ok);
    assert_eq!(open.open.expect("content").version, 4);
}

#[test]
fn after_an_error_the_next_message_is_found_where_framing_allows() {
    let keepalive = message(4, &[]);
    let mut broken_marker = message(2, &[1; 30]);
    broken_marker[0] = 0;
    let mut short = message(4, &[]);
    short[17] = 3;
    for bad in [
        message(9, &[1; 30]),
        message(4, &[1; 30]),
        message(2, &[0; 5000]),
        message(2, &[9; 10]),
        broken_marker,
        short,
    ] {
        let octets = [&keepalive[..], &bad, &keepalive].concat();
        let mut rest = &octets[..];
        let mut seen = Vec::new();
        while let Step::Message(decoded, taken) = next(rest, &Options::default(), true) {
            seen.push((decoded.verdict, taken));
            rest = &rest[taken..];
        }
        assert_eq!(
            seen,
            [
                (Outcome::Ok, 19),
                (Outcome::SessionReset, bad.len()),
                (Outcome::Ok, 19)
            ]
        );
        assert!(rest.is_empty());
    }
}

#[test]
fn hexadecimal_text_is_read_however_it_is_broken_into_lines() {
    let text = "# two messages\n\nFFFFffff ffffffff ffffffff ffffffff\n  0013 04 # a comment\r\n\
                ffffffffffffffffffffffffffffffff00130 \n 4\n";
    let mut stream = HexStream::new(Options::default());
    let mut messages = 0;
    for line in text.split_inclusive('\n') {
        stream.push(line.as_bytes()).expect("hexadecimal");
        messages += stream.by_ref().count();
    }
    stream.end();
    assert_eq!(messages + stream.by_ref().count(), 2);
    assert_eq!(stream.rest(), Ok(()));
}

#[test]
fn text_that_ends_too_early_or_is_not_hexadecimal_is_told_with_its_place() {
    let keepalive = Hex(message(4, &[])).to_string();
    let run = |text: &str| {
        let mut stream = HexStream::new(Options::default());
        let mut messages = 0;
        for line in text.split_inclusive('\n') {
            let read = stream.push(line.as_bytes());
            messages += stream.by_ref().count();
            if let Err(error) = read {
                return (messages, Err(error));
            }
        }
        stream.end();
        messages += stream.by_ref().count();
        (messages, stream.rest())
    };
    let (messages, error) = run(&format!("{keepalive}\n{keepalive}ff\nff\n"));
    assert_eq!(messages, 2);
    let cut_off = InputError::CutOff {
        line: 2,
        octet: 39,
        there: 2,
        expected: None,
    };
    assert_eq!(error, Err(cut_off));
    let (messages, error) = run(&format!(
        "{keepalive}\n{}",
        &keepalive[..36].replace("0013", "")
    ));
    assert_eq!(messages, 1);
    assert_eq!(
        error.expect_err("cut off").to_string(),
        "line 2, octet 20 of all: the message that begins here is cut off: 16 octets of a header \
         of 19"
    );
    let update = Hex(update(&[8, 10], &[], &[])).to_string();
    let (messages, error) = run(&format!("{keepalive}{}", &update[..update.len() - 2]));
    assert_eq!(messages, 1);
    let cut_off = InputError::CutOff {
        line: 1,
        octet: 20,
        there: 24,
        expected: Some(25),
    };
    assert_eq!(error, Err(cut_off));
    let (messages, error) = run(&format!("{keepalive}\n\n{keepalive}00 xy\n"));
    assert_eq!(messages, 2, "what stands before it counts");
    let digit = InputError::Digit {
        line: 3,
        column: 42,
        found: 'x',
    };
    assert_eq!(error, Err(digit));
    assert_eq!(
        run(&format!("{keepalive}\n0")),
        (1, Err(InputError::Odd { line: 2 }))
    );
    let (_, error) = run("\u{fc}");
    assert_eq!(
        error,
        Err(InputError::Digit {
            line: 1,
            column: 1,
            found: '\u{fc}'
        })
    );
    assert_eq!(run(""), (0, Ok(())));
}
