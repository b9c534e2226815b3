//! `[[pool]]` and `[[block]]`: the address space of the fabric and this host's part of it.

use wayleave_bgp_core::{Family, Prefix};

use super::{
    check::Check,
    diagnostic::Fault,
    model::{Block, Pool},
    raw::{RawBlock, RawPool},
    setting::Setting,
    source::Place,
    value::Found,
};

/// A claim names its pool with four bits.
const MOST_POOLS: usize = 16;
/// A claim names its block with 24 bits.
const BLOCK_INDEX_BITS: u8 = 24;

pub(super) fn pools(raw: Vec<RawPool>, check: &mut Check<'_>) -> Option<Vec<Pool>> {
    let several = raw.len() > 1;
    let mut pools: Vec<(Pool, Place)> = Vec::new();
    let mut complete = true;
    for raw in raw {
        let header = raw.place.clone().unwrap_or_default();
        let Some((pool, place)) = pool(raw, several, &header, check) else {
            complete = false;
            continue;
        };
        for (other, first) in &pools {
            if other.name.value == pool.name.value {
                let fault = Fault::new(format!("two pools have the name {:?}", pool.name.value));
                check
                    .faults
                    .push(fault.at(&place).also("the first is here", first));
            }
            for (mine, theirs) in pairs(&pool.cidr.value, &other.cidr.value) {
                if overlap(mine, theirs) {
                    let fault = Fault::new(format!(
                        "pool {:?} ({mine}) overlaps pool {:?} ({theirs})",
                        pool.name.value, other.name.value
                    ));
                    check
                        .faults
                        .push(fault.at(&place).also("the other is here", first));
                }
            }
        }
        pools.push((pool, place));
    }
    if let Some((_, place)) = pools.get(MOST_POOLS) {
        check.fault(
            place,
            format!("there are {} pools; at most {MOST_POOLS} fit", pools.len()),
        );
    }
    pools.sort_by(|(a, _), (b, _)| a.name.value.cmp(&b.name.value));
    complete.then(|| pools.into_iter().map(|(pool, _)| pool).collect())
}

fn pool(
    raw: RawPool,
    several: bool,
    header: &Place,
    check: &mut Check<'_>,
) -> Option<(Pool, Place)> {
    let lacks = raw.lacks("cidr");
    let Some(cidr) = raw.cidr else {
        let fault = Fault::new("`cidr` is missing in [[pool]]: which addresses do containers get?");
        check.missing(lacks, fault.at(header).help("write cidr = \"10.1.0.0/16\""));
        return None;
    };
    check_cidr(&cidr, check);
    let lengths = [
        (Family::Ipv4Unicast, "pool.block", raw.block.as_ref(), 26),
        (
            Family::Ipv6Unicast,
            "pool.block_ipv6",
            raw.block_ipv6.as_ref(),
            122,
        ),
    ];
    for (family, key, length, default) in lengths {
        let range = cidr
            .value
            .iter()
            .find(|range| range.value.family() == family);
        check_block_length(key, length, default, range, check);
    }
    for exclusion in raw.exclude.iter().flat_map(|list| &list.value) {
        if !cidr
            .value
            .iter()
            .any(|range| range.value.contains(exclusion.value))
        {
            let message = format!("`pool.exclude`: {} lies outside the pool", exclusion.value);
            check.fault(&exclusion.place, message);
        }
    }
    if raw.name.is_none() && several {
        let fault = Fault::new("`name` is missing in [[pool]]: with several pools each needs one");
        check.faults.push(fault.at(header));
    }
    check.require(
        raw.name.as_ref(),
        |name| is_name(name),
        |name| {
            format!("`pool.name`: expected 1 to 63 of letters, digits and hyphens, found {name:?}")
        },
    );
    let exclude = check.distinct("pool.exclude", raw.exclude);
    let place = raw
        .name
        .as_ref()
        .map_or(&cidr.place, |name| &name.place)
        .clone();
    let cidr = check.distinct("pool.cidr", Some(cidr))?;
    let pool = Pool {
        name: check.setting(raw.name, "default".to_owned()),
        cidr: check.found(cidr),
        block: check.setting(raw.block, 26),
        block_ipv6: check.setting(raw.block_ipv6, 122),
        exclude: check.setting(exclude, Vec::new()),
    };
    Some((pool, place))
}

fn check_cidr(cidr: &Found<Vec<Found<Prefix>>>, check: &mut Check<'_>) {
    if cidr.value.is_empty() {
        check.fault(
            &cidr.place,
            "`pool.cidr`: expected at least one prefix, found an empty list",
        );
    }
    for family in Family::ALL {
        let mut same = cidr
            .value
            .iter()
            .filter(|range| range.value.family() == family);
        if let (Some(first), Some(second)) = (same.next(), same.next()) {
            let message = format!(
                "`pool.cidr`: {} and {} are of one family; make two pools of them",
                first.value, second.value
            );
            check.fault(&second.place, message);
        }
    }
    for range in &cidr.value {
        if let Some(why) = unusable(range.value) {
            check.fault(&range.place, format!("`pool.cidr`: {} {why}", range.value));
        }
    }
}

fn check_block_length(
    key: &str,
    length: Option<&Found<u8>>,
    default: u8,
    range: Option<&Found<Prefix>>,
    check: &mut Check<'_>,
) {
    let Some(range) = range else {
        if let Some(length) = length {
            check.fault(
                &length.place,
                format!("`{key}`: the pool has no prefix of that family"),
            );
        }
        return;
    };
    let shortest = range.value.len();
    let longest = match range.value.family() {
        Family::Ipv4Unicast => 32,
        Family::Ipv6Unicast => 128,
    }
    .min(shortest.saturating_add(BLOCK_INDEX_BITS));
    let chosen = length.map_or(default, |length| length.value);
    if !(shortest..=longest).contains(&chosen) {
        let place = length.map_or(&range.place, |length| &length.place);
        let message = format!(
            "`{key}`: blocks of {} are /{shortest} to /{longest} (at most 2^{BLOCK_INDEX_BITS} of them), found /{chosen}{}",
            range.value,
            if length.is_none() { " by default" } else { "" }
        );
        check.fault(place, message);
    }
}

pub(super) fn blocks(
    raw: Vec<RawBlock>,
    pools: &Option<Vec<Pool>>,
    check: &mut Check<'_>,
) -> Option<Vec<Block>> {
    let mut blocks: Vec<(Block, Place)> = Vec::new();
    let mut complete = true;
    for raw in raw {
        let header = raw.place.clone().unwrap_or_default();
        let lacks = raw.lacks("prefix");
        let Some(prefix) = raw.prefix else {
            let fault = Fault::new("`prefix` is missing in [[block]]");
            check.missing(
                lacks,
                fault.at(&header).help("write prefix = \"10.1.7.0/24\""),
            );
            complete = false;
            continue;
        };
        // Pools that are wrong themselves have been reported; nothing can be said against them.
        let Some(pools) = pools else { continue };
        let place = prefix.place.clone();
        let Some(pool) = pool_of(&prefix, raw.pool, pools, check) else {
            complete = false;
            continue;
        };
        let clash = blocks
            .iter()
            .find(|(other, _)| overlap(other.prefix.value, prefix.value));
        if let Some((other, first)) = clash {
            let fault = Fault::new(format!(
                "block {} overlaps block {}",
                prefix.value, other.prefix.value
            ));
            check
                .faults
                .push(fault.at(&place).also("the other is here", first));
        }
        blocks.push((
            Block {
                prefix: check.found(prefix),
                pool,
            },
            place,
        ));
    }
    blocks.sort_by_key(|(block, _)| block.prefix.value);
    complete.then(|| blocks.into_iter().map(|(block, _)| block).collect())
}

fn pool_of(
    prefix: &Found<Prefix>,
    named: Option<Found<String>>,
    pools: &[Pool],
    check: &mut Check<'_>,
) -> Option<Setting<String>> {
    let covers = |pool: &Pool| {
        pool.cidr
            .value
            .iter()
            .any(|cidr| cidr.contains(prefix.value))
    };
    if let Some(named) = named {
        match pools.iter().find(|pool| pool.name.value == named.value) {
            Some(pool) if covers(pool) => return Some(check.found(named)),
            Some(_) => {
                let message = format!(
                    "`block.prefix`: {} lies outside pool {:?}",
                    prefix.value, named.value
                );
                check.fault(&prefix.place, message);
            }
            None => check.fault(
                &named.place,
                format!("`block.pool`: there is no pool {:?}", named.value),
            ),
        }
        return None;
    }
    if let Some(pool) = pools.iter().find(|pool| covers(pool)) {
        return Some(Setting::derived(
            pool.name.value.clone(),
            "the pool that contains it",
        ));
    }
    let fault = Fault::new(format!("`block.prefix`: {} lies in no pool", prefix.value));
    let help = if pools.is_empty() {
        "add the pool it is a part of: [[pool]] with cidr = \"...\", the same on every host"
            .to_owned()
    } else {
        let known: Vec<_> = pools
            .iter()
            .flat_map(|pool| &pool.cidr.value)
            .map(ToString::to_string)
            .collect();
        format!("the pools are {}", known.join(", "))
    };
    check.faults.push(fault.at(&prefix.place).help(help));
    None
}

/// Why containers cannot have addresses from here.
fn unusable(prefix: Prefix) -> Option<&'static str> {
    let reserved = [
        ("127.0.0.0/8", "is loopback"),
        ("169.254.0.0/16", "is link-local"),
        ("224.0.0.0/4", "is multicast"),
        ("0.0.0.0/8", "is reserved (RFC 1122)"),
        ("240.0.0.0/4", "is reserved (RFC 1112)"),
        ("::1/128", "is loopback"),
        ("fe80::/10", "is link-local"),
        ("ff00::/8", "is multicast"),
    ];
    if prefix.len() == 0 {
        return Some("is the whole Internet");
    }
    reserved
        .into_iter()
        .filter_map(|(text, why)| Some((text.parse::<Prefix>().ok()?, why)))
        .find(|(reserved, _)| overlap(*reserved, prefix))
        .map(|(_, why)| why)
}

fn overlap(a: Prefix, b: Prefix) -> bool {
    a.contains(b) || b.contains(a)
}

fn pairs<'a>(a: &'a [Prefix], b: &'a [Prefix]) -> impl Iterator<Item = (Prefix, Prefix)> + 'a {
    a.iter().flat_map(|a| b.iter().map(|b| (*a, *b)))
}

fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
