//! The Poll Sequence (RFC 5880, 6.5), and what keeps two of them apart (6.8.3).

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Poll {
    /// None is needed.
    #[default]
    Idle,
    /// Packets carry the Poll bit. Should more change meanwhile, another sequence has to follow: a
    /// Final may answer a packet of before.
    Active { again: bool },
    /// A Final has come. Until a packet without one comes, no other sequence may begin: another Final
    /// could still be on its way (the third of the three choices of 6.8.3).
    Ended { again: bool },
}

impl Poll {
    /// Something has changed that the remote system has to confirm.
    pub(super) fn request(&mut self) {
        *self = match self {
            Self::Idle => Self::Active { again: false },
            Self::Active { .. } => Self::Active { again: true },
            Self::Ended { .. } => Self::Ended { again: true },
        };
    }

    /// A packet was received, with or without its Final bit.
    pub(super) fn heard(&mut self, final_: bool) {
        *self = match (*self, final_) {
            (Self::Active { again }, true) => Self::Ended { again },
            (Self::Ended { again: true }, false) => Self::Active { again: false },
            (Self::Ended { again: false }, false) => Self::Idle,
            (unchanged, _) => unchanged,
        };
    }

    /// Whether packets carry the Poll bit.
    pub(super) fn is_active(self) -> bool {
        matches!(self, Self::Active { .. })
    }

    /// Whether the remote system has still to confirm something.
    pub(super) fn is_pending(self) -> bool {
        match self {
            Self::Active { .. } => true,
            Self::Ended { again } => again,
            Self::Idle => false,
        }
    }
}
