//! What is done to AS_PATH for an external neighbour before our AS is put before it.

use crate::{config::PeerConfig, session::Negotiated, types::Asn, view::SessionType, wire::Edit};

/// Part of what tells groups apart: see [`GroupKey`](super::GroupKey).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PathChange {
    /// Private numbers are left out, but for this one, the neighbour's: it is to find its loops.
    remove_private: Option<Asn>,
    /// The neighbour's AS, and what stands in its place (as-override).
    replace: Option<(Asn, Asn)>,
    /// Our own AS goes first where the neighbour takes us to be in another (local-as), which comes
    /// before it.
    own: Option<Asn>,
}

impl PathChange {
    pub(crate) fn towards(peer: &PeerConfig, own: Asn, negotiated: &Negotiated) -> Self {
        if negotiated.session_type == SessionType::Ibgp {
            return Self::default();
        }
        let theirs = negotiated.peer_asn;
        Self {
            remove_private: peer.remove_private_as.then_some(theirs),
            replace: peer.as_override.then(|| (theirs, peer.path_as(own))),
            own: peer
                .local_as
                .filter(|local| !local.replace && local.asn != own)
                .map(|_| own),
        }
    }

    /// A canonical set with the changed path; `None`: it is as it was.
    pub(crate) fn changed(&self, canonical: &[u8]) -> Option<Vec<u8>> {
        if *self == Self::default() {
            return None;
        }
        let mut edit = Edit::new(canonical);
        if let Some(theirs) = self.remove_private {
            edit.remove_as_numbers(|asn| asn.is_private() && asn != theirs);
        }
        if let Some((theirs, ours)) = self.replace {
            edit.replace_as_number(theirs, ours);
        }
        if let Some(own) = self.own {
            edit.prepend(own, 1);
        }
        if edit.is_unchanged() {
            return None;
        }
        let mut changed = Vec::new();
        edit.finish(true, &mut changed);
        Some(changed)
    }
}
