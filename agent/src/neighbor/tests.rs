//! The finder on links that come and go, with time as an argument.

use std::{collections::BTreeSet, net::Ipv6Addr, time::Duration};

use wayleave_bgp_core::Time;
use wayleave_netlink::{Address, Event, Link, Object};

use super::{
    finder::Finder,
    message::{Advertisement, Message},
    search::{FORGOTTEN, FOUND, GRACE, LEAST_PAUSE, Outlet, SEARCHING, Say},
};

const OURS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const TOR: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const OTHER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);
const THERE: Message = Message::Advertisement(Advertisement { lifetime: 0 });
const ETH1: u32 = 7;

fn seconds(n: u64) -> Time {
    Time(0) + Duration::from_secs(n)
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

fn link(ifindex: u32, name: &str, running: bool) -> Object {
    Object::Link(Box::new(Link {
        ifindex,
        name: name.to_owned(),
        kind: None,
        up: true,
        running,
        carrier: running,
        loopback: false,
        mtu: 1_500,
        mac: None,
        master: None,
        peer: None,
        peer_netns: None,
        group: 0,
    }))
}

fn address(ifindex: u32, local: Ipv6Addr, tentative: bool) -> Object {
    Object::Address(Address {
        tentative,
        ..Address::new(ifindex, local.into(), 64)
    })
}

/// A finder for eth1, which is up.
fn finder() -> Finder {
    let mut finder = Finder::new(1);
    finder.want(Time(0), &names(&["eth1"]));
    finder.listed(
        Time(0),
        vec![address(ETH1, OURS, false), link(ETH1, "eth1", true)],
    );
    finder
}

fn happens(finder: &mut Finder, now: Time, event: Event) {
    assert!(!finder.happened(now, event), "nothing was lost");
}

/// Everything that is said until a time, and when.
fn said_until(finder: &mut Finder, mut now: Time, end: Time) -> Vec<(Time, Say)> {
    let mut said = Vec::new();
    for _ in 0..10_000 {
        for (interface, say) in finder.step(now) {
            assert_eq!(interface, "eth1");
            assert_eq!(say.from.source, OURS);
            said.push((now, say));
        }
        match finder.next_due(now) {
            Some(due) if due <= end => {
                assert!(due > now, "at {now} it wants to go on at {due}");
                now = due;
            }
            Some(_) | None => return said,
        }
    }
    panic!("it is never at rest");
}

fn keys(finder: &Finder, now: Time) -> Vec<String> {
    let problems = finder.problems(now).into_iter();
    problems.map(|problem| problem.key).collect()
}

#[test]
fn a_link_that_can_be_used_is_spoken_on_at_once_and_then_every_few_seconds() {
    let said = said_until(&mut finder(), Time(0), seconds(60));
    let outlet = Outlet {
        ifindex: ETH1,
        source: OURS,
    };
    let both = Say {
        from: outlet,
        solicit: true,
    };
    assert_eq!(said[0], (Time(0), both));
    assert!(
        (15..=20).contains(&said.len()),
        "{} in a minute",
        said.len()
    );
    for pair in said.windows(2) {
        let pause = pair[1].0.since(pair[0].0);
        assert!((LEAST_PAUSE..=SEARCHING).contains(&pause), "{pause:?}");
        assert!(pair[1].1.solicit, "nobody was heard");
    }
}

#[test]
fn who_is_heard_is_the_neighbour_and_hears_of_us_every_ten_seconds() {
    let mut finder = finder();
    finder.step(Time(0));
    let mut now = Time(0);
    for _ in 0..20 {
        now = now + Duration::from_secs(5);
        assert_eq!(finder.received(now, ETH1, TOR, THERE), Some("eth1"));
        let again = now + Duration::from_millis(10);
        assert_eq!(finder.received(again, ETH1, TOR, THERE), None, "no news");
        for (at, say) in said_until(&mut finder, now, now + Duration::from_secs(5)) {
            assert!(!say.solicit, "at {at}");
        }
    }
    let said = said_until(&mut finder, now, now + FOUND * 3);
    let pauses = said.windows(2).map(|pair| pair[1].0.since(pair[0].0));
    for pause in pauses {
        assert!((FOUND * 3 / 4..=FOUND).contains(&pause), "{pause:?}");
    }
    // One that says nothing between two of ours is asked.
    assert!(said.last().is_some_and(|(_, say)| say.solicit));
    assert_eq!(keys(&finder, now + FOUND * 3), [""; 0]);
}

#[test]
fn our_own_messages_and_those_of_other_links_are_nobodys() {
    let mut finder = finder();
    happens(&mut finder, Time(0), Event::New(link(9, "eth9", true)));
    happens(&mut finder, Time(0), Event::New(address(9, OTHER, false)));
    assert_eq!(finder.received(Time(0), ETH1, OURS, THERE), None);
    let twin = finder.received(Time(0), ETH1, OTHER, THERE);
    assert_eq!(twin, None, "another interface of ours on the same link");
    assert_eq!(finder.received(Time(0), 9, TOR, THERE), None);
    assert_eq!(finder.received(Time(0), 4711, TOR, THERE), None);
    let asked = finder.received(Time(0), ETH1, TOR, Message::Solicitation);
    assert_eq!(asked, None, "who asks for routers is none");
}

#[test]
fn a_solicitation_is_answered_soon_and_many_are_answered_every_three_seconds() {
    let mut finder = finder();
    assert_eq!(finder.step(Time(0)).len(), 1);
    finder.received(Time(0), ETH1, TOR, THERE);
    let asked = seconds(6);
    finder.received(asked, ETH1, TOR, THERE);
    finder.received(asked, ETH1, TOR, Message::Solicitation);
    let said = said_until(&mut finder, asked, seconds(7));
    let [(at, say)] = said[..] else {
        panic!("{said:?}")
    };
    assert!(at.since(asked) <= Duration::from_millis(500), "at {at}");
    assert!(!say.solicit);
    // A storm.
    let mut said = 0;
    for tenth in 70..370 {
        let now = Time(0) + Duration::from_millis(tenth * 100);
        finder.received(now, ETH1, TOR, Message::Solicitation);
        said += finder.step(now).len();
    }
    assert!((9..=10).contains(&said), "{said} answers in 30 s");
}

#[test]
fn a_link_that_was_down_is_a_new_one() {
    let mut finder = finder();
    finder.step(Time(0));
    assert!(finder.received(Time(0), ETH1, TOR, THERE).is_some());
    happens(
        &mut finder,
        seconds(1),
        Event::New(link(ETH1, "eth1", false)),
    );
    assert_eq!(said_until(&mut finder, seconds(1), seconds(9)), []);
    // Its address goes through duplicate address detection again.
    happens(
        &mut finder,
        seconds(9),
        Event::New(address(ETH1, OURS, true)),
    );
    happens(
        &mut finder,
        seconds(9),
        Event::New(link(ETH1, "eth1", true)),
    );
    assert_eq!(finder.step(seconds(9)), []);
    happens(
        &mut finder,
        seconds(10),
        Event::New(address(ETH1, OURS, false)),
    );
    let said = finder.step(seconds(10));
    assert!(said.iter().all(|(_, say)| say.solicit) && said.len() == 1);
    let other = finder.received(seconds(10), ETH1, OTHER, THERE);
    assert_eq!(other, Some("eth1"), "somebody else may be there now");
}

#[test]
fn interfaces_come_go_and_are_renamed() {
    let mut finder = Finder::new(1);
    finder.want(Time(0), &names(&["eth1"]));
    finder.listed(Time(0), Vec::new());
    assert_eq!(finder.step(Time(0)), []);
    happens(
        &mut finder,
        seconds(1),
        Event::New(address(ETH1, OURS, false)),
    );
    happens(
        &mut finder,
        seconds(1),
        Event::New(link(ETH1, "eth7", true)),
    );
    assert_eq!(finder.step(seconds(1)), []);
    happens(
        &mut finder,
        seconds(2),
        Event::New(link(ETH1, "eth1", true)),
    );
    assert_eq!(finder.step(seconds(2)).len(), 1);
    assert_eq!(finder.received(seconds(2), ETH1, TOR, THERE), Some("eth1"));
    happens(
        &mut finder,
        seconds(3),
        Event::Gone(link(ETH1, "eth1", true)),
    );
    assert_eq!(finder.received(seconds(3), ETH1, TOR, THERE), None);
    // Another one gets the name.
    happens(&mut finder, seconds(4), Event::New(address(8, OURS, false)));
    happens(&mut finder, seconds(4), Event::New(link(8, "eth1", true)));
    let said = finder.step(seconds(4));
    assert!(said.iter().any(|(_, say)| say.from.ifindex == 8));
    assert_eq!(finder.outlets(), [8].into());
    // Nobody is looked for there any more.
    finder.want(seconds(5), &names(&["eth2"]));
    assert_eq!(finder.step(seconds(50)), []);
    assert_eq!(finder.outlets(), [].into());
}

#[test]
fn the_first_of_several_stays_while_it_is_heard_and_the_others_are_a_problem() {
    let mut finder = finder();
    assert!(finder.received(seconds(1), ETH1, TOR, THERE).is_some());
    assert_eq!(finder.received(seconds(2), ETH1, OTHER, THERE), None);
    assert_eq!(keys(&finder, seconds(2)), ["neighbor.several.eth1"]);
    let problem = &finder.problems(seconds(2))[0];
    assert!(
        problem.what.contains("fe80::2, which is taken"),
        "{}",
        problem.what
    );
    assert!(problem.what.ends_with("and fe80::3"), "{}", problem.what);
    // The first falls silent.
    let gone = seconds(1) + FORGOTTEN;
    said_until(&mut finder, seconds(2), gone);
    let heard = finder.received(gone, ETH1, OTHER, THERE);
    assert_eq!(heard, Some("eth1"));
    assert_eq!(keys(&finder, gone), [""; 0]);
    // Nobody can fill our memory.
    for n in 0..100 {
        let many = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, n);
        finder.received(gone, ETH1, many, THERE);
    }
    let what = &finder.problems(gone)[0].what;
    assert!(what.len() < 500, "{what}");
}

#[test]
fn nobody_heard_is_a_problem_after_a_while_that_says_what_to_look_at() {
    let mut finder = Finder::new(1);
    finder.want(Time(0), &names(&["eth1"]));
    finder.listed(Time(0), Vec::new());
    assert_eq!(keys(&finder, seconds(9)), [""; 0]);
    let late = Time(0) + GRACE;
    assert_eq!(finder.next_due(Time(0)), Some(late), "to say so");
    let why = |finder: &Finder| {
        let problems = finder.problems(late);
        assert_eq!(problems[0].key, "neighbor.unheard.eth1");
        problems[0].why.clone()
    };
    assert!(why(&finder).contains("no interface"));
    happens(&mut finder, late, Event::New(link(ETH1, "eth1", false)));
    assert!(why(&finder).contains("carrier"));
    happens(&mut finder, late, Event::New(link(ETH1, "eth1", true)));
    assert!(why(&finder).contains("link-local address"));
    happens(&mut finder, late, Event::New(address(ETH1, OURS, false)));
    assert!(why(&finder).contains("nobody sends"));
    finder.sent("eth1", Err("Operation not permitted".to_owned()));
    assert!(why(&finder).contains("not permitted"));
    finder.received(late, ETH1, TOR, THERE);
    assert_eq!(keys(&finder, late), [""; 0]);
}

#[test]
fn lost_events_are_made_good_by_a_listing() {
    let mut finder = finder();
    assert!(finder.received(Time(0), ETH1, TOR, THERE).is_some());
    assert!(finder.happened(seconds(1), Event::Overrun));
    finder.listed(
        seconds(1),
        vec![link(ETH1, "eth1", true), address(ETH1, OURS, false)],
    );
    // Nothing has changed, and so nobody is forgotten.
    assert_eq!(finder.received(seconds(2), ETH1, OTHER, THERE), None);
    finder.listed(seconds(3), vec![link(ETH1, "eth1", true)]);
    assert_eq!(finder.step(seconds(40)), []);
}
