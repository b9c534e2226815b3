//! News that the kernel dropped because a process did not take it in time.

use std::{collections::HashSet, fs};

/// How many messages were dropped at each netlink socket of these processes that listens for a
/// multicast group, in an order that stays. The processes share a network namespace.
pub(crate) fn drops(pids: &[u32], group: u32) -> Vec<u64> {
    let mut sockets = HashSet::new();
    for pid in pids {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        let links = files.flatten().filter_map(|f| fs::read_link(f.path()).ok());
        sockets.extend(links.filter_map(|link| inode(link.to_str()?)));
    }
    // Each process shows the sockets of all in its namespace.
    let listed = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/net/netlink")).ok();
    let text = pids.iter().find_map(listed).unwrap_or_default();
    let mut found: Vec<_> = listeners(&text, group)
        .filter(|(inode, _)| sockets.contains(inode))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, drops)| drops).collect()
}

/// Whether each of the sockets has dropped so many more; false without a socket.
pub(crate) fn all_lost(before: &[u64], after: &[u64], most: u64) -> bool {
    let mut pairs = before.iter().zip(after);
    let same = before.len() == after.len() && !before.is_empty();
    same && pairs.all(|(before, after)| after.saturating_sub(*before) >= most)
}

/// The inode of an open file that is a socket.
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// Inode and drops of each rtnetlink socket in a listing that listens for a group.
fn listeners(listing: &str, group: u32) -> impl Iterator<Item = (u64, u64)> {
    const NETLINK_ROUTE: u64 = 0;
    let mut lines = listing.lines();
    let head: Vec<_> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let columns = ["Eth", "Groups", "Drops", "Inode"];
    let columns = columns.map(|name| head.iter().position(|title| *title == name));
    lines.filter_map(move |line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [protocol, groups, drops, inode] = columns.map(|at| fields.get(at?).copied());
        let groups = u32::from_str_radix(groups?, 16).ok()?;
        let number = |field: Option<&str>| field?.parse::<u64>().ok();
        let listens = number(protocol)? == NETLINK_ROUTE && groups & group != 0;
        listens.then_some((number(inode)?, number(drops)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_listen_for_the_group_are_looked_at() {
        let listing = "\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000460a602d 0   0          00000000 0        0        0     2        9        4       
000000001020a494 0   812        00000551 0        0        0     2        77983    1515    
000000001020a495 0   4211       00000400 0        0        0     2        3        1516    
000000001020a496 15  4212       00000040 0        0        0     2        5        1517    
";
        let found = |group| listeners(listing, group).collect::<Vec<_>>();
        assert_eq!(found(0x40), [(1515, 77_983)]);
        assert_eq!(found(0x400), [(1515, 77_983), (1516, 3)]);
        assert_eq!(found(0x80), []);
        assert_eq!(listeners("something else\n1 2 3\n", 1).count(), 0);
    }

    #[test]
    fn news_are_lost_when_every_socket_has_dropped_them() {
        assert!(all_lost(&[0, 7], &[1000, 1007], 1000));
        assert!(!all_lost(&[0, 7], &[1000, 1006], 1000));
        assert!(!all_lost(&[0], &[1000, 1000], 1000), "one is new");
        assert!(!all_lost(&[], &[], 0), "nobody listens");
    }

    #[test]
    fn only_sockets_have_an_inode_here() {
        assert_eq!(inode("socket:[1515]"), Some(1515));
        for other in ["pipe:[1515]", "/dev/null", "socket:[x]"] {
            assert_eq!(inode(other), None, "{other}");
        }
    }
}
