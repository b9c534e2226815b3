//! Attachments on the real kernel, each test in a network namespace of its own.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use wayleave_ipam::Owner;
use wayleave_netlink::sysctl::Sysctl;

use super::{
    AttachError, Attachment, Attachments, NotReady, Point, prepare_host, uplink_mtu,
    world::{Container, Inside, first_packet, in_world, ip, space, words},
};
use crate::store::{Table, Write};

fn host_ip(arguments: &str) -> bool {
    ip(&words(arguments))
}

#[test]
fn the_very_first_packet_passes_in_all_directions_over_both_families() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let one = Container::new("c1");
        let two = Container::new("c2");
        let first = one.add(&attachments).unwrap();
        one.echo();
        for address in &first.attachment.addresses {
            first_packet(*address).unwrap_or_else(|e| panic!("host to {address}: {e}"));
        }
        let second = two.add(&attachments).unwrap();
        two.echo();
        let pairs = first
            .attachment
            .addresses
            .iter()
            .zip(&second.attachment.addresses);
        for (mine, yours) in pairs.map(|(mine, yours)| (*mine, *yours)) {
            let seen = one.run(move || first_packet(yours));
            let seen = seen.unwrap_or_else(|e| panic!("{mine} to {yours}: {e}"));
            assert_eq!(seen, mine, "no address is translated");
        }
        assert_eq!(first.attachment.addresses.len(), 2);
        assert_eq!(world.routes().len(), 4);
        assert_eq!(world.outlet.routes.lock().unwrap().len(), 4);
        assert_eq!(world.outlet.originated.lock().unwrap().len(), 2);
        for link in world.links() {
            assert_eq!(link.mtu, 1_400);
            let forged = Sysctl::RpFilter.read(&link.name).unwrap();
            assert_eq!(forged, 1, "forged source addresses are dropped");
        }
    });
}

#[test]
fn a_forged_source_address_does_not_pass() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let (honest, forger) = (Container::new("c1"), Container::new("c2"));
        let to = honest.add(&attachments).unwrap().attachment.addresses[0];
        honest.echo();
        forger.add(&attachments).unwrap();
        forger
            .run(move || first_packet(to))
            .expect("with its own address it passes");
        forger.ip("addr add 10.9.9.9/32 dev eth0");
        let forged = forger.run(move || {
            let socket = std::net::UdpSocket::bind("10.9.9.9:0").unwrap();
            socket.send_to(b"hello", (to, 7)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            socket.recv(&mut [0; 64]).is_ok()
        });
        assert!(!forged);
    });
}

#[test]
fn an_add_repeated_finds_what_is_there_and_a_new_namespace_gets_the_same_addresses() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let container = Container::new("c1");
        let first = container.add(&attachments).unwrap();
        let links = world.links();
        assert_eq!(container.add(&attachments).unwrap(), first);
        assert_eq!(world.links(), links, "nothing was made anew");
        let restarted = Container::new("c1");
        let second = restarted.add(&attachments).unwrap();
        assert_eq!(second.attachment.addresses, first.attachment.addresses);
        assert_eq!(attachments.list().len(), 1);
        restarted.echo();
        for address in &second.attachment.addresses {
            first_packet(*address).unwrap();
        }
        // Its interface was removed behind our back: the runtime may call ADD again.
        assert!(host_ip(&format!(
            "link del {}",
            second.attachment.host_name
        )));
        assert_eq!(restarted.add(&attachments).unwrap(), second);
        first_packet(second.attachment.addresses[0]).unwrap();
    });
}

#[test]
fn a_del_leaves_nothing_and_can_be_repeated_and_comes_before_any_add() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let container = Container::new("c1");
        attachments.delete(&container.owner()).unwrap();
        container.add(&attachments).unwrap();
        attachments.delete(&container.owner()).unwrap();
        attachments.delete(&container.owner()).unwrap();
        world.assert_empty();
        let again = container.add(&attachments).unwrap();
        assert_eq!(
            again.attachment.addresses[0].to_string(),
            "10.1.7.1",
            "not the one just freed"
        );
        drop(container);
        attachments.delete(&again.attachment.owner).unwrap();
        world.assert_empty();
    });
}

#[test]
fn fifty_adds_at_once_get_distinct_addresses_and_all_answer_and_all_go() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let containers: Vec<_> = (0..50).map(|n| Container::new(&format!("c{n}"))).collect();
        let begun = Instant::now();
        let attached: Vec<_> = std::thread::scope(|scope| {
            let calls: Vec<_> = containers
                .iter()
                .map(|c| scope.spawn(|| c.add(&attachments).unwrap()))
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        println!("50 dual-stack ADDs at once: {:?}", begun.elapsed());
        let distinct: BTreeSet<IpAddr> = attached
            .iter()
            .flat_map(|a| a.attachment.addresses.clone())
            .collect();
        assert_eq!(distinct.len(), 100);
        for (container, attached) in containers.iter().zip(&attached) {
            container.echo();
            for address in &attached.attachment.addresses {
                first_packet(*address).unwrap_or_else(|e| panic!("{address}: {e}"));
            }
        }
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for container in &containers {
                scope.spawn(|| attachments.delete(&container.owner()).unwrap());
            }
        });
        println!("50 DELs at once: {:?}", begun.elapsed());
        world.assert_empty();
    });
}

/// The agent is killed at every point of an ADD. The next one has the whole attachment or nothing,
/// and the runtime's next call, ADD or DEL, succeeds.
#[test]
fn a_kill_at_any_point_of_an_add_leaves_the_whole_attachment_or_nothing() {
    for point in Point::ALL.into_iter().take(6) {
        in_world(move |world| {
            let killed = world.start_until(point);
            let container = Container::new("c1");
            let error = container.add(&killed).unwrap_err();
            assert!(
                matches!(error, AttachError::Ended(at) if at == point),
                "{error}"
            );
            drop(killed);
            let (attachments, adopted) = world.start();
            assert_eq!(adopted.problems, []);
            if point == Point::AddMarked {
                assert_eq!(
                    (adopted.kept, world.links().len(), world.routes().len()),
                    (1, 1, 2)
                );
                container.echo();
                first_packet(attachments.list()[0].addresses[0]).unwrap();
            } else {
                assert_eq!(adopted.kept, 0);
                assert_eq!((attachments.list(), attachments.leases()), (vec![], vec![]));
                world.assert_empty();
            }
            let attached = container.add(&attachments).unwrap();
            if point != Point::AddMarked {
                container.echo();
            }
            for address in &attached.attachment.addresses {
                first_packet(*address).unwrap_or_else(|e| panic!("{point:?}: {address}: {e}"));
            }
            attachments.delete(&container.owner()).unwrap();
            world.assert_empty();
        });
    }
}

#[test]
fn a_kill_at_any_point_of_a_del_is_finished_by_the_next_start_or_the_next_del() {
    for point in Point::ALL.into_iter().skip(6) {
        in_world(move |world| {
            let container = Container::new("c1");
            container.add(&world.start().0).unwrap();
            let killed = world.start_until(point);
            let error = killed.delete(&container.owner()).unwrap_err();
            assert!(
                matches!(error, AttachError::Ended(at) if at == point),
                "{error}"
            );
            drop(killed);
            let (attachments, adopted) = world.start();
            assert_eq!(
                adopted.kept,
                usize::from(point == Point::DelBegun),
                "{point:?}"
            );
            attachments.delete(&container.owner()).unwrap();
            world.assert_empty();
        });
    }
}

#[test]
fn a_restart_adopts_the_living_frees_the_dead_and_repairs_what_was_deleted() {
    in_world(|world| {
        let (first, _) = world.start();
        let (living, dead) = (Container::new("living"), Container::new("dead"));
        let kept = living.add(&first).unwrap();
        dead.add(&first).unwrap();
        let dead_owner = dead.owner();
        drop((first, dead));
        let deadline = Instant::now() + Duration::from_secs(10);
        while world.links().len() > 1 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(host_ip("route flush proto 201"));
        assert!(host_ip("-6 route flush proto 201"));
        assert!(host_ip(&format!(
            "neigh del {} dev {}",
            kept.attachment.addresses[0], kept.attachment.host_name
        )));
        let (second, adopted) = world.start();
        assert_eq!((adopted.kept, adopted.freed), (1, vec![dead_owner]));
        assert_eq!(adopted.problems, []);
        assert_eq!(second.list(), std::slice::from_ref(&kept.attachment));
        living.echo();
        for address in &kept.attachment.addresses {
            first_packet(*address).unwrap();
        }
        second.delete(&living.owner()).unwrap();
        world.assert_empty();
    });
}

#[test]
fn after_a_reboot_no_container_lives() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let container = Container::new("c1");
        let attached = container.add(&attachments).unwrap();
        attachments.delete(&container.owner()).unwrap();
        // The record of another boot, as a disk brings it.
        let mut old = attached.attachment;
        old.alive.boot = wayleave_ipam::BootId(1);
        let (store, _) = world.store();
        store.commit_blocking(vec![old.put().unwrap()]).unwrap();
        drop((store, attachments));
        let (attachments, adopted) = world.start();
        assert_eq!((adopted.kept, adopted.freed), (0, vec![container.owner()]));
        assert_eq!(attachments.list(), []);
        world.assert_empty();
    });
}

#[test]
fn a_check_names_everything_that_is_not_as_it_was_made() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let container = Container::new("c1");
        let attached = container.add(&attachments).unwrap().attachment;
        let check = |attachments: &Attachments, container: &Container| {
            attachments.check(
                &container.owner(),
                container.namespace(),
                &attached.addresses,
            )
        };
        check(&attachments, &container).unwrap();
        let host = attached.host_name.clone();
        type Damage = (Box<dyn Fn(&Container)>, &'static str);
        let on_host = |arguments: String| -> Box<dyn Fn(&Container)> {
            Box::new(move |_| assert!(host_ip(&arguments), "ip {arguments}"))
        };
        let inside = |arguments: &'static str| -> Box<dyn Fn(&Container)> {
            Box::new(move |container| container.ip(arguments))
        };
        let damages: Vec<Damage> = vec![
            (
                on_host("route del 10.1.7.0/32 proto 201".to_owned()),
                "the host has no route 10.1.7.0/32",
            ),
            (
                on_host(format!("link set {host} mtu 1300")),
                "the host's end has MTU 1300, not 1400",
            ),
            (
                inside("route del default"),
                "no default route via 169.254.1.1",
            ),
            (
                inside("addr del fd00:1::/128 dev eth0"),
                "eth0 lacks the address fd00:1::",
            ),
            (
                inside("link set eth0 address 02:00:00:00:00:09"),
                "eth0 has another hardware address",
            ),
            (inside("link set eth0 down"), "the container's eth0 is down"),
            (
                inside("link set eth0 name eth7"),
                "the container has no interface eth0",
            ),
            (on_host(format!("link del {host}")), "is gone"),
        ];
        for (damage, wanted) in damages {
            damage(&container);
            let error = check(&attachments, &container).unwrap_err();
            assert!(error.to_string().contains(wanted), "{wanted}: {error}");
            assert_eq!(error.to_cni().code, 100);
            // Each is found on its own: begin again.
            attachments.delete(&container.owner()).unwrap();
            let mut request = container.request();
            request.addresses = attached.addresses.clone();
            attachments.add(request, &mut Inside(&container)).unwrap();
        }
        let other = Container::new("c1");
        let error = check(&attachments, &other).unwrap_err();
        assert!(error.to_string().contains("another namespace"), "{error}");
        let unknown = Container::new("c2");
        assert!(matches!(
            check(&attachments, &unknown),
            Err(AttachError::Unknown(_))
        ));
        let error = attachments
            .check(&container.owner(), container.namespace(), &[])
            .unwrap_err();
        assert!(
            error.to_string().contains("prevResult lacks its address"),
            "{error}"
        );
        let _ = world;
    });
}

#[test]
fn a_garbage_collection_keeps_what_is_listed_and_what_is_of_other_networks() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let containers: Vec<_> = (0..12).map(|n| Container::new(&format!("c{n}"))).collect();
        for container in &containers[..11] {
            container.add(&attachments).unwrap();
        }
        let mut other = containers[11].request();
        other.network = "other".to_owned();
        attachments
            .add(other, &mut Inside(&containers[11]))
            .unwrap();
        let valid = BTreeSet::from([containers[3].owner(), Owner::new("never", "eth0")]);
        assert_eq!(attachments.collect("fabric", &valid).unwrap(), 10);
        assert_eq!(attachments.collect("fabric", &valid).unwrap(), 0);
        let left: Vec<Owner> = attachments.list().into_iter().map(|a| a.owner).collect();
        assert_eq!(left, [containers[11].owner(), containers[3].owner()]);
        assert_eq!(world.links().len(), 2);
        assert_eq!(attachments.collect("fabric", &BTreeSet::new()).unwrap(), 1);
        assert_eq!(attachments.collect("other", &BTreeSet::new()).unwrap(), 1);
        world.assert_empty();
    });
}

#[test]
fn a_disk_that_refuses_stops_adds_before_an_address_leaves_and_only_them() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let (running, refused) = (Container::new("running"), Container::new("refused"));
        let kept = running.add(&attachments).unwrap();
        running.echo();
        world.disk.0.fuse.store(1, Ordering::SeqCst);
        let error = refused.add(&attachments).unwrap_err();
        assert!(matches!(error, AttachError::Store(_)), "{error}");
        assert_eq!(error.to_cni().code, 11);
        assert!(matches!(attachments.readiness(), Err(NotReady::Store(_))));
        assert_eq!((world.links().len(), attachments.leases().len()), (1, 2));
        first_packet(kept.attachment.addresses[0]).unwrap();
        world.disk.0.fuse.store(0, Ordering::SeqCst);
        attachments.readiness().unwrap();
        refused.add(&attachments).unwrap();
        assert_eq!(attachments.leases().len(), 4);
    });
}

#[test]
fn an_add_that_fails_in_the_kernel_is_undone() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let container = Container::new("c1");
        container.ip("link add eth0 type veth peer name eth9");
        let error = container.add(&attachments).unwrap_err();
        assert!(
            matches!(&error, AttachError::InterfaceExists(name) if name == "eth0"),
            "{error}"
        );
        assert_eq!(error.to_cni().code, 102);
        world.assert_empty();
        container.ip("link del eth0");
        // Somebody else's route stands where ours would: it stays, and the ADD fails.
        assert!(host_ip("route add blackhole 10.1.7.1/32"));
        let mut request = container.request();
        request.addresses = vec!["10.1.7.1".parse().unwrap()];
        let error = attachments
            .add(request, &mut Inside(&container))
            .unwrap_err();
        assert!(error.to_string().contains("EEXIST"), "{error}");
        world.assert_empty();
        assert!(host_ip("route del blackhole 10.1.7.1/32"));
        // The host has an interface of that name, which is not ours.
        let name = super::name::host_name(&container.owner());
        assert!(host_ip(&format!(
            "link add {name} type veth peer name other"
        )));
        let error = container.add(&attachments).unwrap_err();
        assert!(matches!(&error, AttachError::HostNameTaken(_)), "{error}");
        assert_eq!(world.links().len(), 1, "it was left alone");
        assert!(host_ip(&format!("link del {name}")));
        container.add(&attachments).unwrap();
        attachments.delete(&container.owner()).unwrap();
        world.assert_empty();
    });
}

#[test]
fn ipv6_switched_off_by_the_runtime_is_switched_on_for_our_interface() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let container = Container::new("c1");
        container.run(|| {
            Sysctl::DisableIpv6.write("all", 1).unwrap();
            Sysctl::DisableIpv6.write("default", 1).unwrap();
        });
        let attached = container.add(&attachments).unwrap();
        container.echo();
        for address in &attached.attachment.addresses {
            first_packet(*address).unwrap_or_else(|e| panic!("{address}: {e}"));
        }
        let _ = world;
    });
}

#[test]
fn a_second_interface_leaves_the_first_ones_default_route_alone() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let container = Container::new("c1");
        let first = container.add(&attachments).unwrap();
        assert_eq!(first.metric, 0);
        let mut request = container.request();
        request.owner = Owner::new("c1", "net1");
        let second = attachments.add(request, &mut Inside(&container)).unwrap();
        assert!(second.metric > 1_000, "{}", second.metric);
        let mut request = container.request();
        request.owner = Owner::new("c1", "net1");
        let again = attachments.add(request, &mut Inside(&container)).unwrap();
        assert_eq!(again, second, "a repeated ADD says the same");
        container.echo();
        first_packet(first.attachment.addresses[0]).unwrap();
        attachments.delete(&Owner::new("c1", "net1")).unwrap();
        attachments.delete(&container.owner()).unwrap();
        world.assert_empty();
    });
}

#[test]
fn without_a_block_nothing_is_ready_and_a_stopping_agent_refuses() {
    in_world(|world| {
        let (attachments, _) = world.start_with((vec![], vec![]), None).unwrap();
        assert_eq!(attachments.readiness(), Err(NotReady::NoPool));
        assert_eq!(attachments.readiness().unwrap_err().to_cni().code, 50);
        let container = Container::new("c1");
        let error = container.add(&attachments).unwrap_err();
        assert_eq!(error.to_cni().code, 11, "{error}");
        let (pools, blocks) = space();
        attachments.set_blocks(pools, blocks).unwrap();
        assert_eq!(world.outlet.originated.lock().unwrap().len(), 2);
        container.add(&attachments).unwrap();
        attachments.stop();
        assert!(matches!(
            container.add(&attachments),
            Err(AttachError::Stopping)
        ));
        assert_eq!(attachments.readiness(), Err(NotReady::Stopping));
    });
}

#[test]
fn the_host_is_made_to_forward_and_its_uplink_tells_the_mtu() {
    in_world(|world| {
        Sysctl::ForwardingV4.write("all", 0).unwrap();
        Sysctl::ForwardingV6.write("all", 0).unwrap();
        assert!(host_ip("link add up0 mtu 1450 type veth peer name up1"));
        assert!(host_ip("link set up0 up"));
        assert!(host_ip("link set up1 up"));
        let families = [wayleave_ipam::Family::Ipv4, wayleave_ipam::Family::Ipv6];
        assert_eq!(prepare_host(&mut world.kernel, &families), []);
        assert_eq!(Sysctl::ForwardingV4.read("all").unwrap(), 1);
        assert_eq!(Sysctl::ForwardingV6.read("all").unwrap(), 1);
        assert_eq!(
            Sysctl::AcceptRa.read("up0").unwrap(),
            2,
            "it goes on listening to its router"
        );
        assert_eq!(uplink_mtu(&mut world.kernel).unwrap(), 1_450);
        assert!(host_ip("link add up2 mtu 1380 type veth peer name up3"));
        assert!(host_ip("link set up2 up"));
        assert!(host_ip("link set up3 up"));
        assert!(host_ip("addr add 192.0.2.1/24 dev up0"));
        assert!(host_ip("route add default via 192.0.2.254"));
        assert_eq!(
            uplink_mtu(&mut world.kernel).unwrap(),
            1_450,
            "the one that leads out"
        );
    });
}

#[test]
fn an_audit_is_clean_until_something_is_wrong_and_then_names_it() {
    in_world(|world| {
        let (attachments, _) = world.start();
        let containers: Vec<_> = (0..4).map(|n| Container::new(&format!("c{n}"))).collect();
        let mut attached = Vec::new();
        for container in &containers {
            attached.push(container.add(&attachments).unwrap().attachment);
        }
        assert_eq!(attachments.audit().unwrap(), []);
        // It stays clean while containers come and go beside it.
        let churn = Container::new("churn");
        std::thread::scope(|scope| {
            let coming_and_going = scope.spawn(|| {
                for _ in 0..20 {
                    churn.add(&attachments).unwrap();
                    attachments.delete(&churn.owner()).unwrap();
                }
            });
            while !coming_and_going.is_finished() {
                assert_eq!(attachments.audit().unwrap(), []);
            }
        });
        assert!(host_ip(&format!("link del {}", attached[0].host_name)));
        assert!(host_ip(&format!("link set {} down", attached[1].host_name)));
        assert!(host_ip(&format!(
            "route del {} proto 201",
            attached[2].addresses[0]
        )));
        assert!(host_ip(
            "link add wl00 group 22348 type veth peer name other"
        ));
        let mut keys: Vec<String> = attachments
            .audit()
            .unwrap()
            .into_iter()
            .map(|problem| problem.key)
            .collect();
        keys.sort();
        let expected = [
            format!("attach.gone.{}", attached[0].host_name),
            format!("attach.half.{}", attached[1].host_name),
            "attach.orphan.wl00".to_owned(),
        ];
        for key in expected {
            assert!(keys.contains(&key), "{key} of {keys:?}");
        }
        let route = format!("attach.route.{}/32", attached[2].addresses[0]);
        assert!(keys.contains(&route), "{route} of {keys:?}");
        assert!(!keys.iter().any(|key| key.contains(&attached[3].host_name)));
    });
}

/// Bounds are generous, because the machine may be busy; the figures are printed.
#[test]
fn the_three_hundredth_attachment_costs_about_what_the_first_did() {
    in_world(|world| {
        let (attachments, _) = world
            .start_with(
                {
                    let (pools, _) = space();
                    let block =
                        |text: &str| wayleave_ipam::Block::fixed("green", text.parse().unwrap());
                    (pools, vec![block("10.1.0.0/20"), block("fd00:1::/112")])
                },
                None,
            )
            .unwrap();
        let containers: Vec<_> = (0..300).map(|n| Container::new(&format!("c{n}"))).collect();
        let mut adds: Vec<Duration> = Vec::new();
        for container in &containers {
            let request = container.request();
            let begun = Instant::now();
            attachments.add(request, &mut Inside(container)).unwrap();
            adds.push(begun.elapsed());
        }
        let median = |times: &[Duration]| {
            let mut times = times.to_vec();
            times.sort();
            times[times.len() / 2]
        };
        let (early, late) = (median(&adds[..50]), median(&adds[250..]));
        println!("dual-stack ADD, median of the first 50: {early:?}, of the last 50: {late:?}");
        assert!(late < early * 5, "{early:?} {late:?}");
        let begun = Instant::now();
        assert_eq!(
            attachments.collect("fabric", &BTreeSet::new()).unwrap(),
            300
        );
        println!("300 collected in {:?}", begun.elapsed());
        world.assert_empty();
    });
}

/// Adds, deletes, kills in the middle of both, containers that vanish, interfaces that somebody
/// deletes, restarts: after every restart all that is attached answers and audits clean, and
/// nothing else has a lease. A failure names its seed.
#[test]
fn whatever_happens_a_restart_has_whole_attachments_and_no_leaks() {
    for seed in 1..=6u64 {
        in_world(move |world| {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut draw = move |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                usize::try_from(random % below).unwrap()
            };
            let fresh = |n: usize| {
                let container = Container::new(&format!("c{n}"));
                container.echo();
                container
            };
            let mut containers: Vec<Container> = (0..5).map(fresh).collect();
            for round in 0..6 {
                let point = Point::ALL[draw(9)];
                let agent = if draw(2) == 0 {
                    world.start().0
                } else {
                    world.start_until(point)
                };
                for _ in 0..8 {
                    let n = draw(5);
                    let outcome = match draw(10) {
                        0..=4 => containers[n].add(&agent).map(|_| ()),
                        5..=7 => agent.delete(&containers[n].owner()),
                        8 => {
                            let name = super::name::host_name(&containers[n].owner());
                            host_ip_quietly(&format!("link del {name}"));
                            Ok(())
                        }
                        _ => {
                            containers[n] = fresh(n);
                            Ok(())
                        }
                    };
                    match outcome {
                        Ok(()) => {}
                        // Killed: this process does no more.
                        Err(AttachError::Ended(_)) => break,
                        Err(other) => panic!("seed {seed}, round {round}: {other}"),
                    }
                }
                drop(agent);
                let ours = format!("seed {seed}, round {round}");
                await_vanished(world, &containers);
                let (agent, adopted) = world.start();
                assert_eq!(adopted.problems, [], "{ours}");
                assert_eq!(agent.audit().unwrap(), [], "{ours}");
                let attached = agent.list();
                let leased: BTreeSet<IpAddr> =
                    agent.leases().iter().map(|lease| lease.address).collect();
                let used: Vec<IpAddr> = attached.iter().flat_map(|a| a.addresses.clone()).collect();
                assert_eq!(used.len(), leased.len(), "{ours}");
                assert_eq!(BTreeSet::from_iter(used.iter().copied()), leased, "{ours}");
                for address in used {
                    first_packet(address).unwrap_or_else(|e| panic!("{ours}: {address}: {e}"));
                }
                assert_eq!(world.links().len(), attached.len(), "{ours}");
            }
            let (agent, _) = world.start();
            for container in &containers {
                agent.delete(&container.owner()).unwrap();
            }
            world.assert_empty();
        });
    }
}

fn host_ip_quietly(arguments: &str) {
    let _ = std::process::Command::new("ip")
        .args(words(arguments))
        .stderr(std::process::Stdio::null())
        .status();
}

/// The kernel deletes the interfaces of namespaces that have ended some time later; a start before
/// that takes them for living, which they are to it.
fn await_vanished(world: &mut super::world::World, containers: &[Container]) {
    let mut living = BTreeSet::new();
    for container in containers {
        let present = container.run(|| {
            let mut inside = wayleave_netlink::Socket::open().unwrap();
            wayleave_netlink::Kernel::link(&mut inside, &"eth0".into())
                .unwrap()
                .is_some()
        });
        if present {
            living.insert(super::name::host_name(&container.owner()));
        }
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while world
        .links()
        .iter()
        .any(|link| !living.contains(&link.name))
    {
        assert!(
            Instant::now() < deadline,
            "the kernel keeps an interface of a dead container"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_stale_record_does_not_take_the_lease_of_whoever_has_the_address_now() {
    in_world(|world| {
        let container = Container::new("now");
        let (agent, _) = world.start();
        let attached = container.add(&agent).unwrap().attachment;
        // As a commit leaves it that failed and was durable all the same.
        let before = Owner::new("before", "eth0");
        let stale = Attachment {
            host_name: super::name::host_name(&before),
            owner: before.clone(),
            ..attached.clone()
        };
        let writes = vec![stale.put().unwrap()];
        agent.shared.store.commit_blocking(writes).unwrap();
        drop(agent);
        assert_eq!(world.start().1.freed, [before]);
        let (agent, adopted) = world.start();
        assert_eq!(adopted.problems, []);
        assert_eq!(agent.audit().unwrap(), []);
        let leased: Vec<_> = agent.leases().iter().map(|lease| lease.address).collect();
        assert_eq!(leased, attached.addresses);
    });
}

/// Forgets the record of a container and keeps its leases, then starts again.
fn without_record(world: &mut super::world::World, container: &Container) -> Attachments {
    let (agent, _) = world.start();
    container.add(&agent).unwrap();
    let record = Write::delete(Table::Attachments, super::record::key(&container.owner()));
    agent.shared.store.commit_blocking(vec![record]).unwrap();
    drop(agent);
    let (agent, adopted) = world.start();
    for problem in adopted.problems {
        world.problems.raise(problem);
    }
    let standing = world.problems.standing();
    let orphan = format!(
        "attach.orphan.{}",
        super::name::host_name(&container.owner())
    );
    for key in ["attach.lease.10.1.7.0", "attach.lease.fd00:1::", &orphan] {
        assert!(
            standing.iter().any(|standing| standing.problem.key == key),
            "{key} is not in {standing:?}"
        );
    }
    agent
}

#[test]
fn what_a_start_found_wrong_is_no_problem_after_the_del_or_the_gc_that_was_advised() {
    for advice in ["DEL", "GC", "GC of another network", "GC while it lives"] {
        in_world(move |world| {
            let container = Container::new("lost");
            let agent = without_record(world, &container);
            let owner = container.owner();
            match advice {
                "DEL" => agent.delete(&owner).unwrap(),
                "GC" => assert_eq!(agent.collect("fabric", &BTreeSet::new()).unwrap(), 1),
                "GC of another network" => {
                    assert_eq!(agent.collect("other", &BTreeSet::new()).unwrap(), 0);
                }
                _ => assert_eq!(agent.collect("fabric", &[owner].into()).unwrap(), 0),
            }
            let standing = world.problems.standing();
            if advice == "DEL" || advice == "GC" {
                assert_eq!(standing, [], "{advice}");
                drop(agent);
                assert_eq!(world.start().1.problems, [], "{advice}");
            } else {
                assert_eq!(standing.len(), 3, "{advice}");
                assert_eq!(agent.leases().len(), 2, "{advice}");
            }
        });
    }
}

#[test]
fn an_interface_without_a_record_is_no_problem_once_somebody_deletes_it() {
    in_world(|world| {
        let container = Container::new("lost");
        let agent = without_record(world, &container);
        let name = super::name::host_name(&container.owner());
        assert!(host_ip(&format!("link del {name}")));
        agent.recheck();
        let keys: Vec<_> = world.problems.standing();
        assert!(
            keys.iter()
                .all(|standing| standing.problem.key.starts_with("attach.lease.")),
            "{keys:?}"
        );
    });
}
