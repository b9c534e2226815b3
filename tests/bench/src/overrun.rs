//! News that the kernel dropped because a process did not take it in time.

use std::{collections::HashSet, fs};

/// How many messages were dropped at the netlink sockets of these processes, which share a
/// network namespace, since the sockets were opened.
pub(crate) fn dropped(pids: &[u32]) -> u64 {
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
    drops(&text, |inode| sockets.contains(&inode))
}

/// The inode of an open file that is a socket.
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// The sum of a listing's column of drops, over the sockets that count.
fn drops(listing: &str, counts: impl Fn(u64) -> bool) -> u64 {
    let mut lines = listing.lines();
    let head: Vec<_> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let column = |name| head.iter().position(|title| *title == name);
    let (Some(drops), Some(inode)) = (column("Drops"), column("Inode")) else {
        return 0;
    };
    let of = |line: &str| -> Option<u64> {
        let fields: Vec<_> = line.split_whitespace().collect();
        let field = |at: usize| fields.get(at)?.parse().ok();
        counts(field(inode)?).then_some(field(drops)?)
    };
    lines.filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drops_of_the_sockets_that_count_are_added_up() {
        let listing = "\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000460a602d 0   0          00000000 0        0        0     2        9        4       
000000001020a494 0   812        00000551 0        0        0     2        77983    1515    
000000001020a495 0   4211       00000000 0        0        0     2        3        1516    
";
        assert_eq!(drops(listing, |inode| inode != 4), 77_986);
        assert_eq!(drops(listing, |_| false), 0);
        assert_eq!(drops("something else\n1 2 3\n", |_| true), 0);
    }

    #[test]
    fn only_sockets_have_an_inode_here() {
        assert_eq!(inode("socket:[1515]"), Some(1515));
        for other in ["pipe:[1515]", "/dev/null", "socket:[x]"] {
            assert_eq!(inode(other), None, "{other}");
        }
    }
}
