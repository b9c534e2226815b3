//! The leases of one host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

use crate::block::{Block, BlockState, checked_blocks};
use crate::cidr::{Cidr, Family};
use crate::error::{AllocateError, BlockError};
use crate::lease::{Lease, Owner};
use crate::pool::{Pool, checked_pools};
use crate::request::{Effect, Freed, Grant, Misfit, MisfitReason, Request, Wanted};
use crate::space::Space;

/// Blocks and leases of one host.
///
/// Every change is computed in memory and returned with its [`Effect`]s. A caller that cannot make the effects durable
/// undoes an allocation with [`Allocator::free`] before anybody hears of the address.
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    pools: BTreeMap<String, Pool>,
    blocks: BTreeMap<Cidr, Held>,
    leases: BTreeMap<IpAddr, Lease>,
    owners: BTreeMap<Owner, BTreeSet<IpAddr>>,
    originated: BTreeSet<Cidr>,
}

#[derive(Clone, Debug)]
struct Held {
    block: Block,
    excluded: Vec<Cidr>,
    space: Space,
}

/// How full a block is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// The block.
    pub block: Block,
    /// Addresses that are leased, those in exclusions included.
    pub leased: u128,
    /// Addresses that can be leased.
    pub usable: u128,
    /// Addresses that are excluded.
    pub excluded: u128,
    /// Usable addresses that are free.
    pub free: u128,
}

impl Allocator {
    /// An allocator with no pool, no block and no lease.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state that the records describe.
    ///
    /// Every lease is taken over, whether it suits the blocks or not: freeing an address in use is worse than any
    /// disorder. What does not suit is returned for the operator.
    ///
    /// # Errors
    /// When the pools and blocks contradict each other.
    pub fn restore(
        pools: Vec<Pool>,
        blocks: Vec<Block>,
        mut leases: Vec<Lease>,
    ) -> Result<(Self, Vec<Misfit>), BlockError> {
        let mut allocator = Self::new();
        allocator.set_blocks(pools, blocks)?;
        // Oldest first: of two records of one address the older one is the rightful one.
        leases.sort_by(|a, b| (a.since, a).cmp(&(b.since, b)));
        let mut misfits = Vec::new();
        let mut newest: BTreeMap<Cidr, u128> = BTreeMap::new();
        for lease in leases {
            if allocator.leases.contains_key(&lease.address) {
                misfits.push(Misfit {
                    lease,
                    reason: MisfitReason::Twice,
                });
                continue;
            }
            let family = Family::of(lease.address);
            let reason = match allocator.block_of(lease.address) {
                None => Some(MisfitReason::OutsideBlocks),
                Some((held, offset)) => {
                    newest.insert(held.block.cidr, offset);
                    held.space
                        .is_excluded(offset)
                        .then_some(MisfitReason::Excluded)
                }
            };
            if let Some(reason) = reason {
                misfits.push(Misfit {
                    lease: lease.clone(),
                    reason,
                });
            } else if allocator
                .leases_of(&lease.owner)
                .any(|l| Family::of(l.address) == family)
            {
                misfits.push(Misfit {
                    lease: lease.clone(),
                    reason: MisfitReason::SecondOfFamily,
                });
            }
            allocator.insert(lease);
        }
        for (cidr, offset) in newest {
            if let Some(held) = allocator.blocks.get_mut(&cidr) {
                held.space.start_behind(offset);
            }
        }
        allocator.originated = allocator.to_originate();
        Ok((allocator, misfits))
    }

    /// Makes these the pools and blocks of this host; leases stay whatever happens to their block.
    ///
    /// # Errors
    /// When the pools and blocks contradict each other; nothing is changed then.
    pub fn set_blocks(
        &mut self,
        pools: Vec<Pool>,
        blocks: Vec<Block>,
    ) -> Result<Vec<Effect>, BlockError> {
        let pools = checked_pools(pools)?;
        let blocks = checked_blocks(&pools, blocks)?;
        let mut before = std::mem::take(&mut self.blocks);
        for (cidr, block) in blocks {
            let excluded: Vec<Cidr> = pools
                .get(&block.pool)
                .map(|pool| pool.excluded().to_vec())
                .unwrap_or_default();
            let held = match before.remove(&cidr) {
                // The order of the freed addresses is worth keeping.
                Some(held) if held.excluded == excluded => Held { block, ..held },
                _ => {
                    let mut space = Space::new(&cidr, &excluded);
                    for address in self.leases.keys().filter_map(|a| cidr.offset_of(*a)) {
                        space.lease(address);
                    }
                    Held {
                        block,
                        excluded,
                        space,
                    }
                }
            };
            self.blocks.insert(cidr, held);
        }
        self.pools = pools;
        let wanted = self.to_originate();
        let effects = difference(&self.originated, &wanted);
        self.originated = wanted;
        Ok(effects)
    }

    /// Gives an interface its addresses: those it has already, else new ones.
    ///
    /// # Errors
    /// When the request cannot be met as a whole; nothing is changed then.
    pub fn allocate(&mut self, request: &Request) -> Result<Grant, AllocateError> {
        let asked = one_of_each_family(&request.addresses)?;
        for name in &request.pools {
            if !self.pools.contains_key(name) {
                let known = self.pools.keys().cloned().collect();
                return Err(AllocateError::UnknownPool {
                    asked: name.clone(),
                    known,
                });
            }
        }
        if self.owners.contains_key(&request.owner) {
            return self.repeat(request);
        }
        let families = self.families(request, &asked)?;
        // Chosen first and leased afterwards, so that a refusal changes nothing.
        let mut chosen = Vec::with_capacity(families.len());
        for family in families {
            chosen.push(match asked.get(&family) {
                Some(address) => self.check_address(request, *address)?,
                None => self.choose(request, family)?,
            });
        }
        let mut leases = Vec::with_capacity(chosen.len());
        for (address, pool) in chosen {
            let lease = Lease {
                address,
                owner: request.owner.clone(),
                network: request.network.clone(),
                pool,
                alive: request.alive,
                since: request.now,
            };
            self.insert(lease.clone());
            leases.push(lease);
        }
        let effects = leases.iter().cloned().map(Effect::Persist).collect();
        Ok(Grant {
            leases,
            effects,
            repeated: false,
        })
    }

    /// Ends all leases of an interface. An owner without leases is no error.
    pub fn free(&mut self, owner: &Owner) -> Freed {
        let mut freed = Freed::default();
        for address in self.owners.remove(owner).unwrap_or_default() {
            let Some(lease) = self.leases.remove(&address) else {
                continue;
            };
            freed.effects.push(Effect::Forget(address));
            if let Some((held, offset)) = block_of_mut(&mut self.blocks, address) {
                held.space.release(offset);
            }
            let host = Cidr::host(address);
            if self.originated.contains(&host) && !self.blocks.contains_key(&host) {
                self.originated.remove(&host);
                freed.effects.push(Effect::Withdraw(host));
            }
            freed.leases.push(lease);
        }
        freed
    }

    /// All leases, by address.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    /// The lease of an address.
    #[must_use]
    pub fn lease(&self, address: IpAddr) -> Option<&Lease> {
        self.leases.get(&address)
    }

    /// The leases of an interface, IPv4 first.
    pub fn leases_of(&self, owner: &Owner) -> impl Iterator<Item = &Lease> {
        self.owners
            .get(owner)
            .into_iter()
            .flatten()
            .filter_map(|address| self.leases.get(address))
    }

    /// All who have leases, in order.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.owners.keys()
    }

    /// The prefixes this host should announce now: blocks, and single addresses whose block is not announced.
    #[must_use]
    pub fn originated(&self) -> &BTreeSet<Cidr> {
        &self.originated
    }

    /// The pools, by name.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values()
    }

    /// How full each block is, by prefix.
    pub fn usage(&self) -> impl Iterator<Item = Usage> {
        self.blocks.values().map(|Held { block, space, .. }| Usage {
            block: block.clone(),
            leased: space.leased(),
            usable: space.usable(),
            excluded: space.excluded(),
            free: space.free(),
        })
    }

    /// The same request once more: a runtime that lost our answer asks again.
    fn repeat(&mut self, request: &Request) -> Result<Grant, AllocateError> {
        let had: Vec<Lease> = self.leases_of(&request.owner).cloned().collect();
        let has = |family| had.iter().any(|lease| Family::of(lease.address) == family);
        let fits = had.iter().all(|lease| {
            lease.network == request.network
                && (request.pools.is_empty() || request.pools.contains(&lease.pool))
        }) && request
            .addresses
            .iter()
            .all(|a| had.iter().any(|l| l.address == *a))
            && match request.wanted {
                Wanted::Available => true,
                Wanted::Ipv4 => has(Family::Ipv4),
                Wanted::Ipv6 => has(Family::Ipv6),
                Wanted::Both => has(Family::Ipv4) && has(Family::Ipv6),
            };
        if !fits {
            return Err(AllocateError::Different {
                owner: request.owner.clone(),
                network: had
                    .first()
                    .map(|lease| lease.network.clone())
                    .unwrap_or_default(),
                addresses: had.iter().map(|lease| lease.address).collect(),
            });
        }
        // A container restarted under its old identifier lives in a new namespace.
        let mut effects = Vec::new();
        let mut leases = had;
        for lease in leases
            .iter_mut()
            .filter(|lease| lease.alive != request.alive)
        {
            lease.alive = request.alive;
            lease.since = request.now;
            self.leases.insert(lease.address, lease.clone());
            effects.push(Effect::Persist(lease.clone()));
        }
        Ok(Grant {
            leases,
            effects,
            repeated: true,
        })
    }

    fn families(
        &self,
        request: &Request,
        asked: &BTreeMap<Family, IpAddr>,
    ) -> Result<Vec<Family>, AllocateError> {
        if self.blocks.is_empty() {
            return Err(AllocateError::NoPool);
        }
        let wanted = |family| match request.wanted {
            Wanted::Available => asked.contains_key(&family) || self.has_block(request, family),
            Wanted::Ipv4 => family == Family::Ipv4 || asked.contains_key(&family),
            Wanted::Ipv6 => family == Family::Ipv6 || asked.contains_key(&family),
            Wanted::Both => true,
        };
        let families: Vec<Family> = Family::ALL.into_iter().filter(|f| wanted(*f)).collect();
        if families.is_empty() {
            // Only a request limited to pools without a block gets here.
            return Err(AllocateError::NoBlock {
                family: Family::Ipv4,
                pools: request.pools.clone(),
            });
        }
        Ok(families)
    }

    fn has_block(&self, request: &Request, family: Family) -> bool {
        self.blocks
            .values()
            .any(|held| allowed(request, held) && held.block.cidr.family() == family)
    }

    /// A free address of the family, from the first pool and block that has one.
    fn choose(
        &mut self,
        request: &Request,
        family: Family,
    ) -> Result<(IpAddr, String), AllocateError> {
        let any = [String::new()];
        let order: &[String] = if request.pools.is_empty() {
            &any
        } else {
            &request.pools
        };
        for pool in order {
            for (cidr, held) in &mut self.blocks {
                let suits = cidr.family() == family
                    && held.block.state == BlockState::Open
                    && (request.pools.is_empty() || held.block.pool == *pool);
                if suits && let Some(address) = held.space.next().and_then(|o| cidr.at(o)) {
                    return Ok((address, held.block.pool.clone()));
                }
            }
        }
        Err(self.why_none(request, family))
    }

    fn why_none(&self, request: &Request, family: Family) -> AllocateError {
        let pools = request.pools.clone();
        if !self.has_block(request, family) {
            return AllocateError::NoBlock { family, pools };
        }
        let (mut leased, mut usable, mut excluded, mut closed) = (0, 0u128, 0u128, 0u128);
        for held in self.blocks.values() {
            if !allowed(request, held) || held.block.cidr.family() != family {
                continue;
            }
            if held.block.state == BlockState::Open {
                leased += held.space.usable() - held.space.free();
                usable = usable.saturating_add(held.space.usable());
                excluded = excluded.saturating_add(held.space.excluded());
            } else {
                closed = closed.saturating_add(held.block.cidr.size());
            }
        }
        AllocateError::Exhausted {
            family,
            pools,
            leased,
            usable,
            excluded,
            closed,
        }
    }

    /// Whether a static address can be had.
    fn check_address(
        &self,
        request: &Request,
        address: IpAddr,
    ) -> Result<(IpAddr, String), AllocateError> {
        if let Some(lease) = self.leases.get(&address) {
            return Err(AllocateError::Taken {
                address,
                holder: lease.owner.clone(),
                network: lease.network.clone(),
            });
        }
        let Some((held, offset)) = self
            .block_of(address)
            .filter(|(held, _)| allowed(request, held))
        else {
            let mine = self.blocks.values().filter(|held| allowed(request, held));
            let blocks = mine.map(|held| held.block.cidr).collect();
            return Err(AllocateError::NotInBlock { address, blocks });
        };
        if held.block.state != BlockState::Open {
            return Err(AllocateError::BlockClosed {
                address,
                block: held.block.cidr,
            });
        }
        if held.space.is_excluded(offset) {
            return Err(AllocateError::Excluded {
                address,
                pool: held.block.pool.clone(),
            });
        }
        Ok((address, held.block.pool.clone()))
    }

    fn insert(&mut self, lease: Lease) {
        if let Some((held, offset)) = block_of_mut(&mut self.blocks, lease.address) {
            held.space.lease(offset);
        }
        self.owners
            .entry(lease.owner.clone())
            .or_default()
            .insert(lease.address);
        self.leases.insert(lease.address, lease);
    }

    fn block_of(&self, address: IpAddr) -> Option<(&Held, u128)> {
        // Blocks do not overlap: the one that starts last before the address is the only candidate.
        let (cidr, held) = self.blocks.range(..=Cidr::host(address)).next_back()?;
        Some((held, cidr.offset_of(address)?))
    }

    fn to_originate(&self) -> BTreeSet<Cidr> {
        let announced = |held: &Held| held.block.state != BlockState::Closed;
        let blocks = self
            .blocks
            .values()
            .filter(|held| announced(held))
            .map(|h| h.block.cidr);
        let single = self.leases.keys().copied().filter(|address| {
            self.block_of(*address)
                .is_none_or(|(held, _)| !announced(held))
        });
        blocks.chain(single.map(Cidr::host)).collect()
    }
}

fn block_of_mut(blocks: &mut BTreeMap<Cidr, Held>, address: IpAddr) -> Option<(&mut Held, u128)> {
    let (cidr, held) = blocks.range_mut(..=Cidr::host(address)).next_back()?;
    let offset = cidr.offset_of(address)?;
    Some((held, offset))
}

fn allowed(request: &Request, held: &Held) -> bool {
    request.pools.is_empty() || request.pools.contains(&held.block.pool)
}

fn one_of_each_family(addresses: &[IpAddr]) -> Result<BTreeMap<Family, IpAddr>, AllocateError> {
    let mut asked = BTreeMap::new();
    for address in addresses {
        let family = Family::of(*address);
        if let Some(first) = asked.insert(family, *address)
            && first != *address
        {
            return Err(AllocateError::TwoAddresses {
                family,
                first,
                second: *address,
            });
        }
    }
    Ok(asked)
}

fn difference(before: &BTreeSet<Cidr>, after: &BTreeSet<Cidr>) -> Vec<Effect> {
    // Announced before withdrawn: an address is reachable by its old or its new route at every moment.
    let new = after.difference(before).copied().map(Effect::Originate);
    let gone = before.difference(after).copied().map(Effect::Withdraw);
    new.chain(gone).collect()
}
