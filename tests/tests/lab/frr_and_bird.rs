//! The stock routers by themselves: what the lab can do before it judges anything of ours.

use std::time::Duration;

use wayleave_lab::{Bird, Frr, FrrConfig, Host, Lab, LabError, Link, Stream, Why, ensure, lab};

const SESSION: Duration = Duration::from_secs(20);

/// Two routers on one cable; each has a network of its own on its loopback.
struct Pair {
    fhost: Host,
    bhost: Host,
    link: Link,
    frr: Frr,
    bird: Bird,
}

const FRR_NETWORKS: [&str; 2] = ["192.0.2.1/32", "2001:db8:1::1/128"];
const BIRD_NETWORKS: [&str; 2] = ["198.51.100.1/32", "2001:db8:2::1/128"];

#[test]
fn routes_of_both_families_cross_and_packets_follow_them() {
    lab!(Frr, Bird).run(|lab| {
        let pair = Pair::start(lab)?;
        pair.wait_for_routes(lab)?;

        let stream = Stream::start(&pair.fhost, &pair.bhost, "198.51.100.1".parse()?)?;
        let stream6 = Stream::start(&pair.bhost, &pair.fhost, "2001:db8:1::1".parse()?)?;
        lab.until(
            Duration::from_secs(5),
            "FRR to show the communities",
            || {
                let route = pair
                    .frr
                    .vtysh_json("show bgp ipv4 unicast 198.51.100.1/32 json")?;
                let path = &route["paths"][0];
                ensure!(
                    path["community"]["string"] == "64999:7",
                    "{}",
                    path["community"]
                );
                ensure!(
                    path["largeCommunity"]["string"] == "64999:1:2",
                    "{}",
                    path["largeCommunity"]
                );
                Ok(())
            },
        )?;
        for report in [stream.stop(), stream6.stop()] {
            ensure!(
                report.sent > 0 && report.lost == 0 && report.duplicates == 0,
                "{report:?}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_link_that_comes_back_heals_and_the_outage_is_counted() {
    lab!(Frr, Bird).run(|lab| {
        let pair = Pair::start(lab)?;
        pair.wait_for_routes(lab)?;
        let stream = Stream::start(&pair.fhost, &pair.bhost, "198.51.100.1".parse()?)?;
        lab.until(Duration::from_secs(2), "the stream to run", || {
            Ok(pair.fhost.ping("198.51.100.1".parse()?)?)
        })?;

        pair.link.down()?;
        lab.until(
            Duration::from_secs(5),
            "the route to leave FRR's kernel",
            || {
                let routes = pair.fhost.ip_json("route show 198.51.100.1/32")?;
                ensure!(routes.as_array().is_some_and(Vec::is_empty), "{routes}");
                Ok(())
            },
        )?;
        pair.link.up()?;
        pair.wait_for_routes(lab)?;

        let report = stream.stop();
        ensure!(
            report.lost > 0 && report.longest_outage > 0,
            "nothing was lost: {report:?}"
        );
        ensure!(
            report.received > 0 && report.received + report.lost == report.sent,
            "{report:?}"
        );
        eprintln!("link down and up: {report:?}");
        Ok(())
    });
}

#[test]
fn a_killed_router_is_noticed_by_its_peer_and_comes_back() {
    lab!(Frr, Bird).run(|lab| {
        let pair = Pair::start(lab)?;
        pair.wait_for_routes(lab)?;

        pair.bird.process().kill()?;
        ensure!(!pair.bird.process().alive(), "killed, and alive");
        lab.until(SESSION, "FRR to notice", || {
            let peers = pair.frr.vtysh_json("show bgp ipv4 unicast summary json")?;
            let state = &peers["peers"]["10.255.0.2"]["state"];
            ensure!(state.is_string() && state != "Established", "{state}");
            Ok(())
        })?;
        pair.bird.start_again()?;
        pair.wait_for_routes(lab)?;

        pair.frr.kill()?;
        pair.frr.start_daemons()?;
        pair.wait_for_routes(lab)?;
        pair.frr.stop()?;
        Ok(())
    });
}

#[test]
fn a_frozen_router_keeps_its_routes_in_the_kernel() {
    lab!(Frr, Bird).run(|lab| {
        let pair = Pair::start(lab)?;
        pair.wait_for_routes(lab)?;
        pair.bird.process().pause()?;
        let refused = pair.bird.process().start();
        ensure!(
            matches!(refused, Err(LabError::Process { .. })),
            "a frozen process is running"
        );
        ensure!(pair.bird.process().alive(), "frozen is not dead");
        pair.bhost.ping("192.0.2.1".parse()?)?;
        pair.bird.process().resume()?;
        pair.wait_for_routes(lab)?;
        Ok(())
    });
}

impl Pair {
    fn start(lab: &Lab) -> Result<Self, Why> {
        let (fhost, bhost) = (lab.host("frr")?, lab.host("bird")?);
        let link = lab.link(&fhost, &bhost)?;
        for network in FRR_NETWORKS {
            fhost.address("lo", network)?;
        }
        for network in BIRD_NETWORKS {
            bhost.address("lo", network)?;
        }
        let (f, b) = (&link.a, &link.b);
        let frr = lab.frr(
            &fhost,
            FrrConfig::new(format!(
                "router bgp 65001
 bgp router-id 1.1.1.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor {b4} remote-as 65002
 neighbor {b4} timers connect 1
 neighbor {b6} remote-as 65002
 neighbor {b6} timers connect 1
 address-family ipv4 unicast
  network {v4}
  no neighbor {b6} activate
 exit-address-family
 address-family ipv6 unicast
  network {v6}
  neighbor {b6} activate
 exit-address-family
",
                b4 = b.v4,
                b6 = b.v6,
                v4 = FRR_NETWORKS[0],
                v6 = FRR_NETWORKS[1]
            )),
        )?;
        let bird = lab.bird(
            &bhost,
            &format!(
                "router id 2.2.2.2;
protocol device {{ scan time 1; }}
protocol direct {{ ipv4; ipv6; interface \"lo\"; }}
protocol kernel k4 {{ ipv4 {{ export where source = RTS_BGP; }}; }}
protocol kernel k6 {{ ipv6 {{ export where source = RTS_BGP; }}; }}
filter ours {{
  if source != RTS_DEVICE then reject;
  bgp_community.add((64999,7));
  bgp_large_community.add((64999,1,2));
  accept;
}}
template bgp frr {{ local as 65002; connect retry time 1; connect delay time 1; error wait time 1,2; }}
protocol bgp frr4 from frr {{ neighbor {f4} as 65001; ipv4 {{ import all; export filter ours; }}; }}
protocol bgp frr6 from frr {{ neighbor {f6} as 65001; ipv6 {{ import all; export filter ours; }}; }}
",
                f4 = f.v4,
                f6 = f.v6
            ),
        )?;
        Ok(Self {
            fhost,
            bhost,
            link,
            frr,
            bird,
        })
    }

    /// Each side's network has reached the other side's kernel, and packets go through.
    fn wait_for_routes(&self, lab: &Lab) -> Result<(), Why> {
        lab.until(SESSION, "routes and packets to cross both ways", || {
            let v4 = self.bird.cli("show route 192.0.2.1/32")?;
            ensure!(v4.contains("unicast"), "BIRD has no IPv4 route: {v4}");
            let v6 = self.bird.cli("show route 2001:db8:1::1/128")?;
            ensure!(v6.contains("unicast"), "BIRD has no IPv6 route: {v6}");
            let source: [(&Host, &str, &str); 4] = [
                (&self.fhost, "192.0.2.1", "198.51.100.1"),
                (&self.fhost, "2001:db8:1::1", "2001:db8:2::1"),
                (&self.bhost, "198.51.100.1", "192.0.2.1"),
                (&self.bhost, "2001:db8:2::1", "2001:db8:1::1"),
            ];
            for (host, from, to) in source {
                host.run(["ping", "-n", "-q", "-c", "1", "-W", "1", "-I", from, to])?;
            }
            Ok(())
        })?;
        Ok(())
    }
}
