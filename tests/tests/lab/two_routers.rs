//! Two stock routers that hear of each other through us: FRR - wayleaved - BIRD.

use std::env;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use wayleave_lab::{Stream, Why, ensure, lab};

use crate::middle::{BIRD_NETWORKS, CONVERGED, FRR_NETWORKS, Fabric, Middle, address, peers};

#[test]
fn ebgp_routes_cross_us_with_their_communities_and_our_as() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Speaker)?;
        fabric.wait_for_sessions(lab)?;
        fabric.wait_for_routes(lab)
    });
}

#[test]
fn a_reflected_route_is_the_route_that_came() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::reflected(lab, Middle::Speaker)?;
        fabric.wait_for_sessions(lab)?;
        fabric.wait_for_reflection(lab)?;
        // They pass us by: the next hop is the other router.
        fabric.wait_for_packets(lab)
    });
}

#[test]
fn packets_between_two_ases_pass_through_our_kernel() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Router)?;
        fabric.wait_for_sessions(lab)?;
        fabric.wait_for_routes(lab)?;
        fabric.wait_for_packets(lab)
    });
}

/// The same demands on a router that is known to meet them: a test that fails above and holds
/// here has found something.
#[test]
fn bird_in_our_place_meets_the_same_demands() {
    lab!(Frr, Bird).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Bird)?;
        fabric.wait_for_sessions(lab)?;
        fabric.wait_for_routes(lab)?;
        fabric.wait_for_packets(lab)
    });
}

#[test]
fn bird_as_reflector_meets_the_same_demands() {
    lab!(Frr, Bird).run(|lab| {
        let fabric = Fabric::reflected(lab, Middle::Bird)?;
        fabric.wait_for_sessions(lab)?;
        fabric.wait_for_reflection(lab)?;
        fabric.wait_for_packets(lab)
    });
}

#[test]
fn a_withdrawn_route_leaves_the_other_router_and_no_other_goes_with_it() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Speaker)?;
        fabric.wait_for_routes(lab)?;
        fabric.withdraw_frr_networks()?;
        lab.until(CONVERGED, "them to be gone at BIRD", || {
            for prefix in FRR_NETWORKS {
                ensure!(fabric.bird.best(prefix).is_err(), "BIRD still has {prefix}");
            }
            Ok(())
        })?;
        // The other direction is none the worse for it.
        fabric.frr.best(BIRD_NETWORKS[0])?;
        fabric.frr.best(BIRD_NETWORKS[1])?;
        Ok(())
    });
}

#[test]
fn a_withdrawn_route_leaves_our_kernel() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Router)?;
        fabric.wait_for_packets(lab)?;
        let ours = || -> Result<[String; 2], Why> {
            Ok([
                fabric.us.ip("route show 192.0.2.1 proto 201")?,
                fabric.us.ip("-6 route show 2001:db8:1::1 proto 201")?,
            ])
        };
        ensure!(
            ours()?.iter().all(|route| route.contains("via")),
            "not there: {:?}",
            ours()?
        );
        fabric.withdraw_frr_networks()?;
        lab.until(CONVERGED, "them to be gone", || {
            ensure!(
                ours()?.iter().all(String::is_empty),
                "still there: {:?}",
                ours()?
            );
            Ok(())
        })?;
        Ok(())
    });
}

#[test]
fn a_killed_agent_finds_its_way_back() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Speaker)?;
        fabric.wait_for_routes(lab)?;
        lab.baseline()?;
        for _ in 0..3 {
            fabric.agent()?.kill()?;
            fabric.agent()?.start_again()?;
            fabric.wait_for_sessions(lab)?;
            fabric.wait_for_routes(lab)?;
        }
        Ok(())
    });
}

#[test]
fn a_killed_agent_leaves_its_routes_in_the_kernel_and_adopts_them() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Router)?;
        fabric.wait_for_packets(lab)?;
        let ours = || -> Result<[String; 2], Why> {
            Ok([
                fabric.us.ip("route show proto 201")?,
                fabric.us.ip("-6 route show proto 201")?,
            ])
        };
        let before = ours()?;
        ensure!(
            before[0].contains("192.0.2.1") && before[1].contains("2001:db8:1::1"),
            "no routes of ours to lose: {before:?}"
        );

        fabric.agent()?.kill()?;
        let dead = ours()?;
        ensure!(
            dead == before,
            "the kernel lost routes with the agent: {dead:?}"
        );
        fabric.agent()?.start_again()?;
        let adopted = ours()?;
        ensure!(
            adopted == before,
            "the new agent did not adopt the routes: {adopted:?}"
        );
        fabric.wait_for_routes(lab)?;
        fabric.wait_for_packets(lab)
    });
}

#[test]
fn a_stopped_agent_stops_cleanly_and_starts_again() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Speaker)?;
        fabric.wait_for_routes(lab)?;
        fabric.agent()?.restart()?;
        fabric.wait_for_sessions(lab)?;
        fabric.wait_for_routes(lab)
    });
}

#[test]
fn a_frozen_agent_shorter_than_the_hold_time_costs_no_session() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Speaker)?;
        fabric.wait_for_sessions(lab)?;
        fabric.agent()?.pause()?;
        // The time itself is the fault: less than the hold time of 9 s, more than a keepalive's 3 s.
        std::thread::sleep(Duration::from_secs(5));
        fabric.agent()?.resume()?;
        fabric.wait_for_sessions(lab)?;
        fabric.wait_for_routes(lab)?;
        for peer in peers(fabric.agent()?)? {
            ensure!(
                peer["established_count"] == 1,
                "{} went down: {peer}",
                peer["name"]
            );
        }
        Ok(())
    });
}

#[test]
fn routers_that_come_back_are_heard_again() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Speaker)?;
        fabric.wait_for_routes(lab)?;
        fabric.bird.process().kill()?;
        lab.until(CONVERGED, "BIRD's routes to leave FRR", || {
            for prefix in BIRD_NETWORKS {
                ensure!(fabric.frr.best(prefix).is_err(), "FRR still has {prefix}");
            }
            Ok(())
        })?;
        fabric.bird.start_again()?;
        fabric.wait_for_routes(lab)?;
        fabric.frr.kill()?;
        fabric.frr.start_daemons()?;
        fabric.wait_for_sessions(lab)?;
        fabric.wait_for_routes(lab)
    });
}

#[test]
fn a_route_deleted_by_hand_comes_back_before_it_is_missed() {
    lab!(Frr, Bird, Agent).run(|lab| {
        let fabric = Fabric::external(lab, Middle::Router)?;
        fabric.wait_for_packets(lab)?;
        // Through our kernel, from FRR to BIRD.
        let stream = Stream::start(&fabric.fhost, &fabric.bhost, address(BIRD_NETWORKS[0])?)?;
        fabric.wait_for_packets(lab)?;
        fabric.us.ip("route del 198.51.100.1 proto 201")?;
        lab.until(Duration::from_secs(2), "the route to come back", || {
            let route = fabric.us.ip("route show 198.51.100.1 proto 201")?;
            ensure!(route.contains("via"), "it is not there");
            Ok(())
        })?;
        let report = stream.stop();
        eprintln!("deleted by hand: {report:?}");
        ensure!(report.sent > 10, "nothing was sent: {report:?}");
        // 10 ms is the aim; a busy machine gets more, but nothing like a scan interval.
        ensure!(report.longest_outage <= 100, "{report:?}");
        Ok(())
    });
}

#[test]
fn five_labs_at_once_do_not_clash() {
    let test = "two_routers::ebgp_routes_cross_us_with_their_communities_and_our_as";
    let start = || {
        Command::new(env::current_exe().expect("this test's own path"))
            .args([test, "--exact"])
            .env("WAYLEAVE_LABS", "5")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this test runs itself")
    };
    let labs: Vec<_> = (0..5).map(|_| start()).collect();
    for lab in labs {
        let output = lab.wait_with_output().expect("a lab ends");
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if let Some(line) = text.lines().find(|line| line.contains("SKIPPED ")) {
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED two_routers::five_labs_at_once: {line}"
            );
            return;
        }
        assert!(output.status.success(), "{text}");
    }
}
