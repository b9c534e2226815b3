//! Registrations as the API takes them.
