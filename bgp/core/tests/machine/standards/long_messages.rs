//! Messages past 4096 octets (RFC 8654).

use wayleave_bgp_core::{
    view::{RibKind, State},
    wire::keepalive,
};

use super::stage::{OPEN, OPTIONAL, Stage, TRANSITIVE, UPDATE, announce, attr, mandatory, message};

/// Large communities that no message of 4096 octets holds.
fn many(count: u32) -> Vec<u8> {
    let list: Vec<u8> = (0..count)
        .flat_map(|n| [65_002, 7, n].map(u32::to_be_bytes))
        .flatten()
        .collect();
    attr(OPTIONAL | TRANSITIVE, 32, &list)
}

/// Neighbours of which some take long messages, by our configuration and theirs.
fn stage(takes: &[(bool, bool)]) -> Stage {
    let asns: Vec<u32> = (65_002..).take(takes.len()).collect();
    let mut stage = Stage::new(&asns, |n, peer| peer.extended_messages = takes[n - 1].0);
    for (n, &(ours, theirs)) in (1..).zip(takes) {
        assert!(stage.call(n));
        let (kind, open) = &stage.hear(n)[0];
        assert_eq!(*kind, OPEN);
        assert_eq!(open.windows(2).any(|part| part == [6, 0]), ours, "{open:?}");
        let open = stage.open_with(n, |open| open.capabilities.extended_message = theirs);
        stage.say(n, &open);
        stage.say(n, &keepalive());
        stage.hear(n);
    }
    stage
}

/// 4: whoever has said so takes 65535 octets, and tells a neighbour that has not said so none of it:
/// "it must not be sent", and what was there "must be withdrawn from service".
#[test]
fn a_long_message_is_taken_and_reaches_those_who_take_such() {
    let mut stage = stage(&[(true, true), (true, true), (true, false), (false, true)]);
    stage.say(1, &announce(10, &mandatory(1, &[65_002])));
    for n in 2..=4 {
        assert_eq!(stage.told(n).prefixes(), "10.0.0.0/8");
    }
    let long = announce(10, &[mandatory(1, &[65_002]), many(5_000)].concat());
    assert!(long.len() > 60_000);
    stage.say(1, &long);
    let held = &stage.routes(RibKind::In, 1)[0];
    assert_eq!(held.attributes.large_communities.len(), 5_000);
    let pending = stage.pending(2);
    let length = usize::from(u16::from_be_bytes([pending[16], pending[17]]));
    assert!(length > 60_000 && length == pending.len(), "{length}");
    for n in 3..=4 {
        let told = stage.told(n);
        assert!(told.routes.is_empty(), "{n}");
        assert_eq!(told.withdrawn, ["10.0.0.0/8"], "{n}");
    }
    // What fits a short message goes in short ones: everybody can pass these on.
    for first in 1..=100 {
        stage.say(
            1,
            &announce(first, &mandatory(1, &[65_002, u32::from(first)])),
        );
    }
    let conn = stage.conn(2);
    stage.speaker.written(stage.now, conn, length);
    assert_eq!(stage.told(2).routes.len(), 100);
}

/// 4 and 5: from anybody else such a message is one of a bad length, and so are OPEN and KEEPALIVE.
#[test]
fn a_long_message_that_was_not_agreed_on_ends_the_session() {
    let long = announce(10, &[mandatory(1, &[65_002]), many(400)].concat());
    let mut late = stage(&[(false, true)]);
    late.say(1, &long);
    let said = late.last_word(1);
    assert_eq!(
        (said.code, said.subcode, said.data),
        (1, 2, long[16..18].to_vec())
    );
    // Ours is what counts for what we take.
    let mut fine = stage(&[(true, false)]);
    fine.say(1, &long);
    assert_eq!(fine.view(1).state, State::Established);
    for kind in [OPEN, 4] {
        let mut stage = stage(&[(true, true)]);
        stage.say(1, &message(kind, &vec![0; 5_000]));
        let said = stage.last_word(1);
        assert_eq!((said.code, said.subcode), (1, 2), "{kind}");
    }
    assert_eq!(long[18], UPDATE);
}
