//! An endpoint as its host means it, and as another host received it.

use std::collections::BTreeSet;

use super::{NodeKey, Plane, Record, RecordError, Scope, State, Zone};

/// What a host says about one address of its own: the value of a /32 or /128.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The node that says it.
    pub key: NodeKey,
    /// The address is shared with other nodes: an anycast VIP.
    pub anycast: bool,
    /// A router may leave the route out of its FIB, for the block's route leads to the same place.
    pub no_fib: bool,
    /// Classes for the operator's filters.
    pub classes: BTreeSet<u32>,
    /// Where the node is.
    pub zone: Option<Zone>,
    /// How far the route may travel.
    pub scope: Option<Scope>,
    /// The cluster of the node.
    pub cluster: Option<u32>,
    /// Everything that has a name.
    pub record: Record,
}

impl Endpoint {
    /// An endpoint of a node that says nothing yet.
    #[must_use]
    pub fn new(key: NodeKey) -> Self {
        Self {
            key,
            anycast: false,
            no_fib: false,
            classes: BTreeSet::new(),
            zone: None,
            scope: None,
            cluster: None,
            record: Record::default(),
        }
    }

    /// The worst state of its services, which plane P carries for the whole address.
    #[must_use]
    pub fn state(&self) -> State {
        self.record
            .services
            .iter()
            .map(|service| service.state)
            .max()
            .unwrap_or_default()
    }

    /// The endpoint with its record in canonical order, as it is decoded elsewhere.
    #[must_use]
    pub fn canonical(self) -> Self {
        Self {
            record: self.record.canonical(),
            ..self
        }
    }
}

/// What became of the record of a received route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordStatus {
    /// The route says it has none.
    Absent,
    /// Here it is.
    Present(Record),
    /// It cannot be used; plane P still counts. To be counted and logged by the receiver.
    Broken(RecordError),
}

/// An endpoint's route as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// What routers match.
    pub plane: Plane,
    /// What has names.
    pub record: RecordStatus,
}

impl Announcement {
    /// The record, when it can be used.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match &self.record {
            RecordStatus::Present(record) => Some(record),
            RecordStatus::Absent | RecordStatus::Broken(_) => None,
        }
    }

    /// What its host said, when all of it arrived.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        let record = match &self.record {
            RecordStatus::Present(record) => record.clone(),
            RecordStatus::Absent => Record::default(),
            RecordStatus::Broken(_) => return None,
        };
        Some(Endpoint {
            key: self.plane.key?,
            anycast: self.plane.flags.anycast,
            no_fib: self.plane.flags.no_fib,
            classes: self.plane.classes.clone(),
            zone: self.plane.zone,
            scope: self.plane.scope,
            cluster: self.plane.cluster,
            record,
        })
    }
}
