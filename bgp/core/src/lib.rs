//! The pure BGP machine of Wayleave.
