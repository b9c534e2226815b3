//! What is kept of malformed messages, and what is told of sessions.

use std::time::Duration;

use wayleave_bgp_core::{
    message::Outcome,
    news::{Event, News},
    wire::Cease,
};

use super::stage::{OPTIONAL, Stage, UPDATE, announce, attr, mandatory, message};

fn news(stage: &mut Stage) -> Vec<(String, Event)> {
    let news = std::iter::from_fn(|| stage.speaker.poll_news());
    news.map(|News { peer, event, .. }| (peer.to_string(), event))
        .collect()
}

/// RFC 7606, 6: "log the entire malformed UPDATE message".
#[test]
fn a_malformed_update_is_kept_as_it_came_and_told_once_a_second() {
    let mut stage = Stage::up(&[65_002], |_, _| {});
    news(&mut stage);
    let bad = announce(
        10,
        &[mandatory(1, &[65_002]), attr(OPTIONAL, 4, &[1, 2, 3])].concat(),
    );
    for _ in 0..10 {
        stage.say(1, &bad);
    }
    stage.pass(Duration::from_secs(7));
    let kept = stage.speaker.malformed(stage.now, "s1").unwrap();
    assert_eq!(kept.len(), 8, "the last few");
    assert_eq!((&kept[0].message.0, kept[0].seconds), (&bad, 7));
    assert_eq!(kept[0].outcome, Outcome::TreatAsWithdraw);
    assert!(kept[0].what.contains("MULTI_EXIT_DISC"), "{}", kept[0].what);
    let told = news(&mut stage);
    assert!(
        matches!(&told[..], [(peer, Event::Malformed { .. })] if peer == "s1"),
        "{told:?}"
    );
    stage.say(1, &bad);
    assert_eq!(news(&mut stage).len(), 1);
    assert_eq!(stage.view(1).treated_as_withdraw, 11);
    assert_eq!(stage.speaker.malformed(stage.now, "nobody"), None);
}

#[test]
fn what_ends_a_session_is_kept_too_and_so_is_what_is_no_message() {
    let mut stage = Stage::up(&[65_002, 65_003], |_, _| {});
    news(&mut stage);
    let bad = message(UPDATE, &[0, 9, 0, 0]);
    stage.say(1, &bad);
    let kept = stage.speaker.malformed(stage.now, "s1").unwrap();
    assert_eq!(
        (&kept[0].message.0, kept[0].outcome),
        (&bad, Outcome::SessionReset)
    );
    let mut noise = message(UPDATE, &[]);
    noise[3] = 0;
    stage.say(2, &noise);
    let kept = stage.speaker.malformed(stage.now, "s2").unwrap();
    assert_eq!(
        (&kept[0].message.0, kept[0].outcome),
        (&noise, Outcome::SessionReset)
    );
    let told = news(&mut stage);
    for peer in ["s1", "s2"] {
        let of_peer: Vec<_> = told.iter().filter(|(name, _)| name == peer).collect();
        assert!(
            matches!(
                of_peer[..],
                [
                    (_, Event::Malformed { .. }),
                    (_, Event::Down { held: false, .. })
                ]
            ),
            "{told:?}"
        );
    }
}

#[test]
fn sessions_that_come_and_go_are_told_with_their_reasons() {
    let mut stage = Stage::new(&[65_002], |_, _| {});
    stage.raise();
    let told = news(&mut stage);
    assert!(
        matches!(&told[..], [(peer, Event::Up { asn, .. })] if peer == "s1" && asn.0 == 65_002),
        "{told:?}"
    );
    let shut = wayleave_bgp_core::wire::Notification::cease(
        Cease::AdministrativeShutdown,
        Some("new rack"),
    );
    let mut bytes = Vec::new();
    shut.encode(&mut bytes);
    stage.say(1, &bytes);
    let told = news(&mut stage);
    assert!(
        matches!(&told[..], [(_, Event::Down { why, .. })] if why.contains("new rack")),
        "{told:?}"
    );
    // Somebody in another AS than we expect.
    let mut stage = Stage::new(&[65_002], |_, _| {});
    assert!(stage.call(1));
    let open = stage.open_with(1, |open| {
        open.asn = wayleave_bgp_core::Asn(65_099);
        open.capabilities.as4 = Some(open.asn);
    });
    stage.say(1, &open);
    let told = news(&mut stage);
    assert!(
        matches!(&told[..], [(_, Event::Failed { why, refused: true })] if why.contains("AS")),
        "{told:?}"
    );
}
