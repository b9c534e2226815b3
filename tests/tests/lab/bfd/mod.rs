//! BFD with BIRD and FRR: up, cut, switched off, and under load. What they see is read from them.

mod pair;

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wayleave_lab::{FrrConfig, Lab, Why, ensure, lab};

use self::pair::{Kind, Pair, Router, soon};

/// A handshake at the slow rate of a second, on a busy machine.
const UP: Duration = Duration::from_secs(20);
/// 50 ms x 3, what every session here has.
const DETECTION: Duration = Duration::from_millis(150);
/// What a test on a busy machine forgives: the commands that cut take time themselves.
const SLACK: Duration = Duration::from_millis(200);

#[test]
fn with_bird_a_cut_is_seen_by_both_ends_in_time() {
    lab!(Bfd, Bird, Nft).run(|lab| a_cut_is_seen_by_both_ends_in_time(lab, Kind::Bird));
}

#[test]
fn with_frr_a_cut_is_seen_by_both_ends_in_time() {
    lab!(Bfd, Frr, Nft).run(|lab| a_cut_is_seen_by_both_ends_in_time(lab, Kind::Frr));
}

#[test]
fn with_bird_a_link_that_goes_down_and_up_costs_no_more() {
    lab!(Bfd, Bird).run(|lab| a_link_that_goes_down_and_up_costs_no_more(lab, Kind::Bird));
}

#[test]
fn with_frr_a_link_that_goes_down_and_up_costs_no_more() {
    lab!(Bfd, Frr).run(|lab| a_link_that_goes_down_and_up_costs_no_more(lab, Kind::Frr));
}

#[test]
fn with_bird_a_cut_of_one_direction_stops_both() {
    lab!(Bfd, Bird, Nft).run(|lab| a_cut_of_one_direction_stops_both(lab, Kind::Bird));
}

#[test]
fn with_frr_a_cut_of_one_direction_stops_both() {
    lab!(Bfd, Frr, Nft).run(|lab| a_cut_of_one_direction_stops_both(lab, Kind::Frr));
}

#[test]
fn with_bird_admin_down_is_no_failure() {
    lab!(Bfd, Bird).run(|lab| admin_down_of_ours_is_seen_as_such(lab, Kind::Bird));
}

#[test]
fn with_frr_admin_down_is_no_failure_at_either_end() {
    lab!(Bfd, Frr).run(|lab| {
        let pair = admin_down_of_ours(lab, Kind::Frr)?;
        let Router::Frr(frr) = &pair.them else {
            return Err("this is FRR's".to_owned().into());
        };
        let [peer, ..] = &pair.peers;
        let begin = pair.us.changes().len();
        frr.configure(&["bfd", &peer.frr_line(&pair.link.b.name), "shutdown"])?;
        let change = pair.wait_for_our_change(lab, begin, peer)?;
        ensure!(
            change.to == "Down" && change.why.ends_with(": switched off"),
            "{change:?}"
        );
        frr.configure(&["bfd", &peer.frr_line(&pair.link.b.name), "no shutdown"])?;
        pair.wait_up(lab)
    });
}

#[test]
fn with_bird_sessions_hold_under_load() {
    lab!(Bfd, Bird).run(|lab| sessions_hold_under_load(lab, Kind::Bird));
}

#[test]
fn with_frr_sessions_hold_under_load() {
    lab!(Bfd, Frr).run(|lab| sessions_hold_under_load(lab, Kind::Frr));
}

#[test]
fn with_bird_the_dead_are_noticed_and_those_who_come_back() {
    lab!(Bfd, Bird).run(|lab| the_dead_are_noticed_and_those_who_come_back(lab, Kind::Bird));
}

#[test]
fn with_frr_the_dead_are_noticed_and_those_who_come_back() {
    lab!(Bfd, Frr).run(|lab| the_dead_are_noticed_and_those_who_come_back(lab, Kind::Frr));
}

/// An interface that is deleted and made anew has another index.
#[test]
fn a_link_that_is_made_anew_is_found() {
    lab!(Bfd, Bird).run(|lab| {
        let pair = Pair::start(lab, Kind::Bird, &[])?;
        pair.wait_up(lab)?;
        let (a, b) = (&pair.link.a, &pair.link.b);
        let begin = pair.us.changes().len();
        a.host.ip(&format!("link del {}", a.name))?;
        soon(|| (pair.us.changes().len() >= begin + pair.peers.len()).then_some(()))?;
        lab.until(UP, "us to miss our interface", || {
            ensure!(pair.us.process().log().contains("trouble: "), "not said");
            Ok(())
        })?;
        a.host.ip(&format!(
            "link add {} index 700 type veth peer name {} index 701 netns {}",
            a.name,
            b.name,
            b.host.namespace_path().display()
        ))?;
        let [.., link_local] = &pair.peers;
        for (end, own) in [(a, &link_local.ours), (b, &link_local.theirs)] {
            end.host.address(&end.name, &format!("{}/30", end.v4))?;
            end.host.address(&end.name, &format!("{}/64", end.v6))?;
            // That of before, beside the one of the new hardware address.
            end.host.address(&end.name, &format!("{own}/64"))?;
            end.up()?;
        }
        pair.wait_up(lab)?;
        // The kernel has routes for addresses that were not there before.
        lab.snapshot()?;
        Ok(())
    });
}

/// Frozen for longer than our detection time, and not as long as theirs: what they have sent
/// meanwhile lies in our sockets.
#[test]
fn a_process_that_was_frozen_takes_no_neighbour_for_silent() {
    lab!(Bfd, Bird).run(|lab| {
        let pair = Pair::start(lab, Kind::Bird, &["--multiplier", "40"])?;
        pair.wait_up(lab)?;
        let (ours, theirs) = (pair.us.changes(), pair.them.falls());
        for _ in 0..5 {
            pair.us.process().pause()?;
            // The time itself is the fault.
            thread::sleep(Duration::from_millis(400));
            pair.us.process().resume()?;
            thread::sleep(Duration::from_millis(200));
        }
        ensure!(pair.us.changes() == ours, "{:?}", pair.us.changes());
        ensure!(pair.them.falls() == theirs, "BIRD lost a session");
        Ok(())
    });
}

#[test]
fn several_hops_work_with_bird_and_with_frr() {
    lab!(Bfd, Bird, Frr, Nft).run(|lab| {
        let (us, mid) = (lab.host("us")?, lab.host("mid")?);
        let (bhost, fhost) = (lab.host("bird")?, lab.host("frr")?);
        let near = lab.link(&us, &mid)?;
        let (to_bird, to_frr) = (lab.link(&mid, &bhost)?, lab.link(&mid, &fhost)?);
        us.ip(&format!("route add 10.255.0.0/16 via {}", near.b.v4))?;
        for far in [&to_bird, &to_frr] {
            let words = format!("route add 10.255.0.0/30 via {}", far.a.v4);
            far.b.host.ip(&words)?;
        }
        let (own, bird, frr) = (near.a.v4, to_bird.b.v4, to_frr.b.v4);
        let them = [
            Router::Bird(lab.bird(
                &bhost,
                &format!(
                    "router id 2.2.2.2;\nprotocol device {{ scan time 1; }}\n\
                     protocol bfd {{ debug {{ events }};\n\
                     multihop {{ min rx interval 50 ms; min tx interval 50 ms; multiplier 3; }};\n\
                     neighbor {own} local {bird} multihop yes; }}\n"
                ),
            )?),
            Router::Frr(
                lab.frr(
                    &fhost,
                    FrrConfig::new(format!(
                        "debug bfd peer\nbfd\n peer {own} multihop local-address {frr}\n\
                     minimum-ttl 250\n receive-interval 50\n transmit-interval 50\n"
                    ))
                    .bfd(),
                )?,
            ),
        ];
        let addresses = [bird.to_string(), frr.to_string()];
        let [first, second] = [&addresses[0], &addresses[1]];
        let local = own.to_string();
        // BIRD sends with a TTL of 64, FRR with 255; the router takes one away.
        let arguments = [first, second, "--local", &local, "--multihop", "63"];
        let bfd = lab.bfd(&us, &arguments)?;
        lab.until(UP, "both sessions to come up", || {
            for (address, them) in addresses.iter().zip(&them) {
                ensure!(
                    bfd.state(address) == "Up",
                    "ours to {address} is {}",
                    bfd.state(address)
                );
                let state = them.state(&local)?;
                ensure!(state == "up", "theirs is {state}");
            }
            Ok(())
        })?;
        // Behind the router, which has no idea: only BFD can tell.
        let began = bfd.changes().len();
        let fault = to_bird.silence()?;
        let cut = Instant::now();
        let changes = soon(|| Some(bfd.changes()).filter(|changes| changes.len() > began))?;
        ensure!(
            cut.elapsed() < DETECTION + SLACK,
            "took {:?}",
            cut.elapsed()
        );
        ensure!(changes[began].peer == *first, "{changes:?}");
        ensure!(
            bfd.state(second) == "Up",
            "the other session went down as well"
        );
        fault.heal()?;
        Ok(())
    });
}

fn a_cut_is_seen_by_both_ends_in_time(lab: &Lab, kind: Kind) -> Result<(), Why> {
    let pair = Pair::start(lab, kind, &[])?;
    pair.wait_up(lab)?;
    pair.settle()?;
    for round in 0..3 {
        let (ours, theirs) = (pair.us.changes().len(), pair.them.falls());
        let begin = Instant::now();
        let fault = pair.link.silence()?;
        let cut = Instant::now();
        let (us, them) = pair.wait_for_falls(ours, theirs)?;
        for (end, at) in [("we", us), ("they", them)] {
            let after = at.saturating_duration_since(cut);
            eprintln!(
                "{kind:?} {round}: {end} noticed {} to {} ms after the cut",
                after.as_millis(),
                at.duration_since(begin).as_millis()
            );
            ensure!(after < DETECTION + SLACK, "{end} took {after:?}");
        }
        for change in &pair.us.changes()[ours..] {
            ensure!(
                change.from == "Up" && change.why.ends_with(": the path has failed"),
                "{change:?}"
            );
        }
        fault.heal()?;
        pair.wait_up(lab)?;
        pair.settle()?;
    }
    Ok(())
}

fn a_link_that_goes_down_and_up_costs_no_more(lab: &Lab, kind: Kind) -> Result<(), Why> {
    let pair = Pair::start(lab, kind, &[])?;
    pair.wait_up(lab)?;
    pair.settle()?;
    // Once at our end, which cannot send any more, once at theirs.
    for end in [&pair.link.a, &pair.link.b] {
        let ours = pair.us.changes().len();
        end.down()?;
        let cut = Instant::now();
        soon(|| (pair.us.changes().len() >= ours + pair.peers.len()).then_some(()))?;
        ensure!(
            cut.elapsed() < DETECTION + SLACK,
            "took {:?}",
            cut.elapsed()
        );
        end.up()?;
        pair.wait_up(lab)?;
        pair.settle()?;
    }
    Ok(())
}

/// The deaf end notices and tells the other, which is not deaf, and believes it at once.
fn a_cut_of_one_direction_stops_both(lab: &Lab, kind: Kind) -> Result<(), Why> {
    let pair = Pair::start(lab, kind, &[])?;
    pair.wait_up(lab)?;
    pair.settle()?;
    for deaf in [&pair.link.a, &pair.link.b] {
        let (ours, theirs) = (pair.us.changes().len(), pair.them.falls());
        let fault = deaf.deafen()?;
        let cut = Instant::now();
        let (us, them) = pair.wait_for_falls(ours, theirs)?;
        for (end, at) in [("we", us), ("they", them)] {
            let after = at.saturating_duration_since(cut);
            eprintln!(
                "{kind:?}, deaf {}: {end} after {} ms",
                deaf.host.name(),
                after.as_millis()
            );
            ensure!(after < DETECTION + SLACK, "{end} took {after:?}");
        }
        // Told, not by a detection time of its own, which would begin with the deaf end's silence.
        let between = us.max(them).duration_since(us.min(them));
        ensure!(
            between < DETECTION / 2,
            "one end noticed {between:?} after the other"
        );
        let deaf_is_us = deaf.host.name() == pair.link.a.host.name();
        let expected = match deaf_is_us {
            true => "Control Detection Time Expired",
            false => "Neighbor Signaled Session Down",
        };
        let changes = pair.us.changes();
        ensure!(
            changes[ours].why.starts_with(expected),
            "{:?}",
            changes[ours]
        );
        fault.heal()?;
        pair.wait_up(lab)?;
        pair.settle()?;
    }
    Ok(())
}

fn the_dead_are_noticed_and_those_who_come_back(lab: &Lab, kind: Kind) -> Result<(), Why> {
    let pair = Pair::start(lab, kind, &[])?;
    pair.wait_up(lab)?;
    pair.settle()?;
    let theirs = pair.them.falls();
    pair.us.process().kill()?;
    let dead = Instant::now();
    soon(|| (pair.them.falls() >= theirs + pair.peers.len()).then_some(()))?;
    ensure!(
        dead.elapsed() < DETECTION + SLACK,
        "they took {:?}",
        dead.elapsed()
    );
    let before = pair.us.changes().len();
    pair.us.process().start()?;
    // What was printed before its end does not count.
    soon(|| (pair.us.changes().len() >= before + pair.peers.len()).then_some(()))?;
    pair.wait_up(lab)?;
    pair.settle()?;

    let ours = pair.us.changes().len();
    pair.them.kill()?;
    let dead = Instant::now();
    soon(|| (pair.us.changes().len() >= ours + pair.peers.len()).then_some(()))?;
    // Of FRR's daemons several have to be killed.
    ensure!(
        dead.elapsed() < DETECTION + SLACK,
        "we took {:?}",
        dead.elapsed()
    );
    for change in &pair.us.changes()[ours..] {
        ensure!(change.why.contains("Time Expired"), "{change:?}");
    }
    pair.them.start_again()?;
    pair.wait_up(lab)
}

fn admin_down_of_ours_is_seen_as_such(lab: &Lab, kind: Kind) -> Result<(), Why> {
    admin_down_of_ours(lab, kind).map(drop)
}

fn admin_down_of_ours(lab: &Lab, kind: Kind) -> Result<Pair, Why> {
    let pair = Pair::start(lab, kind, &[])?;
    pair.wait_up(lab)?;
    pair.settle()?;
    let (ours, theirs) = (pair.us.changes().len(), pair.them.falls());
    pair.us.process().signal(Signal::SIGUSR1)?;
    pair.wait_for_falls(ours, theirs)?;
    for change in &pair.us.changes()[ours..] {
        ensure!(
            change.to == "AdminDown" && !change.why.contains("failed"),
            "{change:?}"
        );
    }
    pair.them.ensure_told_of_admin_down()?;
    pair.us.process().signal(Signal::SIGUSR1)?;
    pair.wait_up(lab)?;
    Ok(pair)
}

fn sessions_hold_under_load(lab: &Lab, kind: Kind) -> Result<(), Why> {
    let pair = Pair::start(lab, kind, &[])?;
    pair.wait_up(lab)?;
    pair.settle()?;
    let (ours, theirs) = (pair.us.changes(), pair.them.falls());
    let mut loops = Vec::new();
    for n in 0..4 {
        let name = format!("busy{n}");
        let host = &pair.link.a.host;
        loops.push(lab.process(host, &name, ["sh", "-c", "while :; do :; done"])?);
    }
    // The time itself is the fault.
    thread::sleep(Duration::from_secs(10));
    let (we, they) = (pair.us.changes(), pair.them.falls());
    for busy in loops {
        busy.kill()?;
    }
    ensure!(we == ours, "we flapped: {:?}", &we[ours.len()..]);
    ensure!(they == theirs, "they flapped {} times", they - theirs);
    // It would have been seen.
    let fault = pair.link.silence()?;
    pair.wait_for_falls(ours.len(), theirs)?;
    fault.heal()?;
    Ok(())
}
