//! Which session a packet belongs to whose sender does not know our discriminator yet (RFC 5880,
//! 6.3; RFC 5881, 3; RFC 5883, 4.1).

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    config::{Path, SessionId},
    event::Datagram,
};

/// The paths of all sessions, by kind and neighbour.
#[derive(Debug, Default)]
pub(crate) struct Paths(BTreeMap<(bool, IpAddr), Vec<(SessionId, Path)>>);

impl Paths {
    /// The session that runs over exactly this path.
    pub(crate) fn holder(&self, path: &Path) -> Option<SessionId> {
        let same = |held: &Path| held.local == path.local && held.interface == path.interface;
        let mut held = self.0.get(&key(path))?.iter();
        held.find(|(_, held)| same(held)).map(|(id, _)| *id)
    }

    pub(crate) fn insert(&mut self, id: SessionId, path: Path) {
        self.0.entry(key(&path)).or_default().push((id, path));
    }

    pub(crate) fn remove(&mut self, id: SessionId, path: &Path) {
        if let Some(held) = self.0.get_mut(&key(path)) {
            held.retain(|(held, _)| *held != id);
            if held.is_empty() {
                self.0.remove(&key(path));
            }
        }
    }

    /// The session for a datagram; of several, the one that says more of where it runs.
    pub(crate) fn find(&self, datagram: &Datagram) -> Option<SessionId> {
        let held = self.0.get(&(datagram.multihop, datagram.remote))?;
        let fits = |path: &Path| {
            path.local.is_none_or(|local| local == datagram.local)
                && path
                    .interface
                    .is_none_or(|index| index == datagram.interface)
        };
        held.iter()
            .filter(|(_, path)| fits(path))
            .max_by_key(|(_, path)| (path.interface.is_some(), path.local.is_some()))
            .map(|(id, _)| *id)
    }
}

fn key(path: &Path) -> (bool, IpAddr) {
    (path.hops.is_multi(), path.remote)
}
