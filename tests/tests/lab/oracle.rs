//! The oracle can find what it is there to find: every invariant is violated once on purpose.
