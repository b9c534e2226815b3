//! A route as the reference sees it: what is in it, in the simplest form.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use wayleave_bgp_core::{
    Asn, Community, LargeCommunity, RouterId,
    attributes::{AsSegment, Origin},
    view::RouteView,
};

#[derive(Clone, PartialEq)]
pub(crate) struct Plain {
    pub(crate) path: Vec<Asn>,
    pub(crate) origin: Origin,
    pub(crate) med: Option<u32>,
    pub(crate) local_pref: Option<u32>,
    pub(crate) communities: BTreeSet<Community>,
    pub(crate) large: BTreeSet<LargeCommunity>,
    pub(crate) originator: Option<RouterId>,
    pub(crate) clusters: Vec<RouterId>,
    pub(crate) hop: Hop,
}

/// Where packets go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Hop {
    /// To this speaker: a route of its own, or one that a policy has turned to it.
    Own,
    /// Where the neighbour said.
    Received(IpAddr),
    /// Where a policy says.
    Set(IpAddr),
}

impl Plain {
    /// A route as a speaker shows it.
    pub(crate) fn of(view: &RouteView) -> Self {
        let attributes = &view.attributes;
        let path = attributes.as_path.iter().flat_map(|segment| match segment {
            AsSegment::Sequence(asns) => asns.clone(),
            AsSegment::Set(_) | AsSegment::ConfedSequence(_) | AsSegment::ConfedSet(_) => {
                panic!("nobody here makes such a segment: {}", view.as_path)
            }
        });
        let set: BTreeSet<_> = attributes.communities.iter().copied().collect();
        let large: BTreeSet<_> = attributes.large_communities.iter().copied().collect();
        assert_eq!(set.len(), attributes.communities.len(), "a community twice");
        assert_eq!(
            large.len(),
            attributes.large_communities.len(),
            "a community twice"
        );
        Self {
            path: path.collect(),
            origin: attributes.origin,
            med: attributes.med,
            local_pref: attributes.local_pref,
            communities: set,
            large,
            originator: attributes.originator_id,
            clusters: attributes.cluster_list.clone(),
            hop: view
                .next_hop
                .map_or(Hop::Own, |hop| Hop::Received(hop.addr)),
        }
    }
}

/// One line, with what is there only: failures list many.
impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(" ");
        let path = list(&mut self.path.iter().map(ToString::to_string));
        write!(f, "[{path}] {:?}", self.hop)?;
        if self.origin != Origin::Igp {
            write!(f, " {:?}", self.origin)?;
        }
        for (name, value) in [("MED", self.med), ("LOCAL_PREF", self.local_pref)] {
            if let Some(value) = value {
                write!(f, " {name} {value}")?;
            }
        }
        let communities = self.communities.iter().map(ToString::to_string);
        let large = self.large.iter().map(ToString::to_string);
        write!(f, " {{{}}}", list(&mut communities.chain(large)))?;
        if let Some(originator) = self.originator {
            let clusters = list(&mut self.clusters.iter().map(|id| id.0.to_string()));
            write!(f, " of {} by {clusters}", originator.0)?;
        }
        Ok(())
    }
}

/// What two listings of routes differ in; empty: nothing.
pub(crate) fn difference<K: Ord + fmt::Debug, T: PartialEq + fmt::Debug>(
    is: &BTreeMap<K, T>,
    expected: &BTreeMap<K, T>,
) -> String {
    let keys: BTreeSet<&K> = is.keys().chain(expected.keys()).collect();
    let differ = keys.into_iter().filter_map(|key| {
        let (is, expected) = (is.get(key), expected.get(key));
        let show =
            |route: Option<&T>| route.map_or("nothing".to_owned(), |route| format!("{route:?}"));
        let differs = is != expected;
        differs.then(|| format!("\n  {key:?}: {}\n    expected {}", show(is), show(expected)))
    });
    differ.collect()
}
