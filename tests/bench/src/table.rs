//! A synthetic table with the statistics of real ones, made from a seed.
//!
//! The constants come from public MRT dumps of 2002 to 2019 (RIPE RIS, RouteViews): prefixes per
//! attribute set, AS_PATH and community counts, prefix lengths. What the tests below hold it to:
//! 5 to 6.5 prefixes per attribute set with a heavy tail, 4.2 to 5.6 hops, two communities per
//! set, 56 % of the IPv4 prefixes /24.

use std::{collections::HashSet, net::IpAddr};

use crate::{
    encode::{self, Attribute, TooLong, as_sequence, attr},
    prefix::{ByPrefix, Family, Prefix},
    random::Random,
};

/// Routes grouped by attribute set, in the order they are announced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) groups: Vec<Group>,
}

/// One attribute set and the prefixes that share it.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Sorted by type code, without next hop.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) prefixes: Vec<Prefix>,
}

impl Table {
    /// A table of exactly `routes` distinct prefixes as neighbour `neighbour_as` would announce it.
    pub(crate) fn synthetic(family: Family, routes: usize, neighbour_as: u32, seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let mut seen = HashSet::with_capacity_and_hasher(routes, ByPrefix::default());
        let mut groups = Vec::with_capacity(routes / 5 + 1);
        let mut left = routes;
        while left > 0 {
            let size = group_size(&mut random).min(left);
            left -= size;
            let attributes = attribute_set(&mut random, neighbour_as);
            let mut prefixes = Vec::with_capacity(size);
            while prefixes.len() < size {
                let prefix = match family {
                    Family::Ipv4 => random_v4(&mut random),
                    Family::Ipv6 => random_v6(&mut random),
                };
                if seen.insert(prefix) {
                    prefixes.push(prefix);
                }
            }
            groups.push(Group {
                attributes,
                prefixes,
            });
        }
        Self { groups }
    }

    pub(crate) fn routes(&self) -> usize {
        self.groups.iter().map(|g| g.prefixes.len()).sum()
    }

    pub(crate) fn prefixes(&self) -> Vec<Prefix> {
        self.groups
            .iter()
            .flat_map(|g| g.prefixes.iter().copied())
            .collect()
    }

    /// The byte stream that announces the table, End-of-RIB included.
    ///
    /// # Errors
    /// When an attribute set fills a message on its own.
    pub(crate) fn announcement(
        &self,
        family: Family,
        next_hop: IpAddr,
    ) -> Result<Vec<u8>, TooLong> {
        let mut stream = Vec::with_capacity(self.groups.len() * 90 + self.routes() * 5);
        for group in &self.groups {
            encode::announce(&group.attributes, next_hop, &group.prefixes, &mut stream)?;
        }
        stream.extend_from_slice(&encode::end_of_rib(family));
        Ok(stream)
    }

    /// The byte stream that withdraws the table.
    pub(crate) fn withdrawal(&self, family: Family) -> Vec<u8> {
        let mut stream = Vec::with_capacity(self.routes() * 5);
        encode::withdraw(family, &self.prefixes(), &mut stream);
        stream
    }
}

/// Quantiles of prefixes per attribute set: (cumulative share, size). Between two points the
/// size grows exponentially.
const GROUP_SIZES: [(f64, f64); 8] = [
    (0.46, 1.0),
    (0.60, 2.0),
    (0.72, 3.0),
    (0.82, 5.0),
    (0.90, 9.0),
    (0.99, 60.0),
    (0.999, 230.0),
    (1.0, 2000.0),
];

fn group_size(random: &mut Random) -> usize {
    let point = random.unit();
    let mut lower = (0.0, 1.0);
    for upper in GROUP_SIZES {
        if point < upper.0 {
            let (p0, v0): (f64, f64) = lower;
            let share = (point - p0) / (upper.0 - p0);
            return (v0 * (upper.1 / v0).powf(share)).round() as usize;
        }
        lower = upper;
    }
    1
}

/// Distinct ASes in a path, the neighbour included.
const PATH_LENGTHS: [(u32, f64); 11] = [
    (1, 0.01),
    (2, 0.06),
    (3, 0.22),
    (4, 0.31),
    (5, 0.20),
    (6, 0.10),
    (7, 0.05),
    (8, 0.025),
    (9, 0.015),
    (10, 0.006),
    (12, 0.004),
];

/// Communities on a set: 46 % have none, the rest a skewed number.
const COMMUNITY_COUNTS: [(u32, f64); 10] = [
    (0, 0.46),
    (1, 0.18),
    (2, 0.11),
    (3, 0.08),
    (4, 0.05),
    (6, 0.05),
    (8, 0.03),
    (12, 0.02),
    (15, 0.015),
    (30, 0.005),
];

fn attribute_set(random: &mut Random, neighbour_as: u32) -> Vec<Attribute> {
    let mut path = vec![neighbour_as];
    let hops = random.weighted(&PATH_LENGTHS);
    for hop in 1..hops {
        path.push(if hop + 1 == hops {
            // The origin: 60,000 of them, most of the younger ones with 32-bit numbers.
            if random.chance(0.45) {
                196_608 + random.below(80_000)
            } else {
                1000 + random.below(62_000)
            }
        } else if hop == 1 {
            // A dozen and a half of transit-free networks.
            174 + 617 * random.below(18)
        } else {
            2000 + 17 * random.below(3000)
        });
    }
    // Prepending shows up as the origin repeated.
    if hops > 1 && random.chance(0.15) {
        let origin = path[path.len() - 1];
        for _ in 0..=random.weighted(&[(0, 0.5), (1, 0.3), (2, 0.15), (5, 0.04), (12, 0.01)]) {
            path.push(origin);
        }
    }

    let origin = random.weighted(&[(0, 0.95), (2, 0.045), (1, 0.005)]);
    let mut set = vec![
        Attribute::new(attr::WELL_KNOWN, attr::ORIGIN, vec![origin]),
        Attribute::new(attr::WELL_KNOWN, attr::AS_PATH, as_sequence(&path)),
    ];
    if random.chance(0.064) {
        let med = random.weighted(&[(0, 0.5), (10, 0.2), (100, 0.2), (4_294_967_294, 0.1)]);
        set.push(Attribute::new(
            attr::OPTIONAL,
            attr::MED,
            u32::to_be_bytes(med).to_vec(),
        ));
    }
    if random.chance(0.05) {
        set.push(Attribute::new(
            attr::WELL_KNOWN,
            attr::ATOMIC_AGGREGATE,
            Vec::new(),
        ));
    }
    if random.chance(0.065) {
        let mut value = path[path.len() - 1].to_be_bytes().to_vec();
        value.extend_from_slice(&(0x0b00_0000 | random.below(1 << 20)).to_be_bytes());
        set.push(Attribute::new(
            attr::OPTIONAL_TRANSITIVE,
            attr::AGGREGATOR,
            value,
        ));
    }
    let upstream = path[path.len().min(2) - 1] & 0xffff;
    let communities = (0..random.weighted(&COMMUNITY_COUNTS))
        .map(|_| ((upstream << 16) | random.below(9000)).to_be_bytes());
    push_set(&mut set, attr::COMMUNITIES, communities);
    if random.chance(0.018) {
        // Route targets: transitive two-octet-AS specific (RFC 4360 section 4).
        let targets = (0..=random.below(8)).map(|_| {
            let mut value = [0, 2, 0, 0, 0, 0, 0, 0];
            value[2..4].copy_from_slice(&(upstream as u16).to_be_bytes());
            value[4..].copy_from_slice(&random.below(100_000).to_be_bytes());
            value
        });
        push_set(&mut set, attr::EXTENDED_COMMUNITIES, targets);
    }
    if random.chance(0.077) {
        let large = (0..=random.below(3)).map(|_| {
            let mut value = [0; 12];
            value[..4].copy_from_slice(&path[path.len() - 1].to_be_bytes());
            value[4..8].copy_from_slice(&random.below(100).to_be_bytes());
            value[8..].copy_from_slice(&random.below(100_000).to_be_bytes());
            value
        });
        push_set(&mut set, attr::LARGE_COMMUNITIES, large);
    }
    set
}

/// Adds a communities attribute: sorted and without duplicates, as most routers send them.
fn push_set<const N: usize>(
    set: &mut Vec<Attribute>,
    code: u8,
    values: impl Iterator<Item = [u8; N]>,
) {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.dedup();
    if !values.is_empty() {
        set.push(Attribute::new(
            attr::OPTIONAL_TRANSITIVE,
            code,
            values.concat(),
        ));
    }
}

const V4_LENGTHS: [(u8, f64); 13] = [
    (24, 0.5564),
    (22, 0.1902),
    (23, 0.1155),
    (21, 0.0541),
    (20, 0.0362),
    (19, 0.0217),
    (18, 0.0101),
    (16, 0.0066),
    (17, 0.0036),
    (15, 0.0032),
    (14, 0.0011),
    (13, 0.0007),
    (12, 0.0004),
];

fn random_v4(random: &mut Random) -> Prefix {
    let len = random.weighted(&V4_LENGTHS);
    loop {
        let address = 0x0100_0000 + random.below(0xdf00_0000 - 0x0100_0000);
        let prefix = Prefix::new(Family::Ipv4, u128::from(address) << 96, len);
        if !prefix.is_special() {
            return prefix;
        }
    }
}

const V6_LENGTHS: [(u8, f64); 13] = [
    (48, 0.5107),
    (32, 0.3216),
    (39, 0.0626),
    (36, 0.0301),
    (31, 0.0280),
    (42, 0.0226),
    (40, 0.0098),
    (33, 0.0068),
    (35, 0.0022),
    (34, 0.0022),
    (29, 0.0014),
    (30, 0.0010),
    (44, 0.0011),
];

fn random_v6(random: &mut Random) -> Prefix {
    let len = random.weighted(&V6_LENGTHS);
    // The blocks the registries hand out of; 2001:db8::/32 is outside them.
    let (first, span) = random.weighted(&[
        ((0x2400_0000_u32, 0x0010_0000_u32), 0.3),
        ((0x2600_0000, 0x0010_0000), 0.3),
        ((0x2800_0000, 0x0008_0000), 0.1),
        ((0x2a00_0000, 0x0010_0000), 0.3),
    ]);
    let high = u64::from(first + random.below(span)) << 32 | (random.next() & 0xffff_ffff);
    Prefix::new(Family::Ipv6, u128::from(high) << 64, len)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn share(table: &Table, holds: impl Fn(&Group) -> bool) -> f64 {
        table.groups.iter().filter(|g| holds(g)).count() as f64 / table.groups.len() as f64
    }

    fn mean_elements(table: &Table, code: u8, size: usize) -> f64 {
        let bytes: usize = table
            .groups
            .iter()
            .flat_map(|g| &g.attributes)
            .filter(|a| a.code == code)
            .map(|a| a.value.len() / size)
            .sum();
        bytes as f64 / table.groups.len() as f64
    }

    #[test]
    fn the_table_has_the_statistics_of_real_ones() {
        let table = Table::synthetic(Family::Ipv4, 200_000, 65001, 1);
        assert_eq!(table.routes(), 200_000);
        let mut sizes: Vec<_> = table.groups.iter().map(|g| g.prefixes.len()).collect();
        sizes.sort_unstable();
        let mean = 200_000.0 / sizes.len() as f64;
        assert!((5.0..6.5).contains(&mean), "{mean} prefixes per set");
        let quantile = |q: f64| sizes[(sizes.len() as f64 * q) as usize];
        assert!((1..=2).contains(&quantile(0.5)));
        assert!((8..=11).contains(&quantile(0.9)), "p90 {}", quantile(0.9));
        assert!(
            (50..=80).contains(&quantile(0.99)),
            "p99 {}",
            quantile(0.99)
        );
        assert!(sizes[sizes.len() - 1] > 500, "a heavy tail");

        let hops = mean_elements(&table, attr::AS_PATH, 4);
        assert!((4.2..5.6).contains(&hops), "{hops} hops");
        let communities = mean_elements(&table, attr::COMMUNITIES, 4);
        assert!(
            (1.6..2.4).contains(&communities),
            "{communities} communities"
        );
        let with_med = share(&table, |g| g.attributes.iter().any(|a| a.code == attr::MED));
        assert!((0.05..0.08).contains(&with_med), "MED on {with_med}");

        let long: HashSet<_> = table.prefixes().into_iter().collect();
        assert_eq!(long.len(), 200_000, "prefixes are distinct");
        let slash_24 = long
            .iter()
            .filter(|p| p.wire_len() == 4 && p.to_string().ends_with("/24"));
        let slash_24 = slash_24.count() as f64 / 200_000.0;
        assert!((0.54..0.58).contains(&slash_24), "/24 are {slash_24}");
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let hop = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2));
        let bytes = |seed| {
            Table::synthetic(Family::Ipv4, 2000, 65001, seed)
                .announcement(Family::Ipv4, hop)
                .expect("synthetic sets are short")
        };
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
    }

    #[test]
    fn no_route_lies_in_a_block_that_a_speaker_may_refuse() {
        for prefix in Table::synthetic(Family::Ipv4, 50_000, 65001, 3).prefixes() {
            assert!(!prefix.is_special(), "{prefix}");
        }
    }
}
