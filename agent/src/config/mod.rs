//! The configuration: from text to what the agent is told to be, and from one to the next.
//!
//! Three types, one after the other:
//!
//! - *raw* ([`raw`]): the tables as written, every value with the place it stands at. Unknown
//!   keys, values of the wrong kind and broken syntax end here, all of them at once;
//! - [`Config`]: validated, complete, and every value knows its [`Origin`]: a default, derived
//!   from the host, or a line of a file;
//! - [`Delta`]: what changes from one `Config` to another and what each change costs. `wayleave
//!   config diff` prints it and a reload acts on it, so that they cannot disagree.
//!
//! The only IO is reading the files ([`load`]) and looking at the host ([`HostFacts::observe`]).
//!
//! The raw tables are not derived with serde: a derived `Deserialize` stops at its first error
//! and words it in Rust's terms. A small trait per value ([`value`]) over the parser's spanned
//! tree reports every fault of a file in one go and says what was expected in the field's terms.

mod advice;
mod check;
mod delta;
mod diagnostic;
mod group;
mod host;
mod model;
mod options;
mod password;
mod peer;
mod policy;
mod raw;
mod setting;
mod source;
mod space;
mod speaker;
mod value;

use std::path::Path;

pub use advice::advice;
pub use delta::{Change, Delta, KeyChange, Kind};
pub use diagnostic::{ConfigErrors, Diagnostic};
pub use host::HostFacts;
pub use model::{
    Api, Bgp, Block, Config, Discovery, Dns, Fib, Log, LogFormat, NextHopSelfSetting, Node, Paths,
    Peer, PeerOptions, PolicySetting, Pool, Range, RemoteAsSetting, Role,
};
pub use policy::{Policies, Policy, PrefixListTable, policy_keys};
pub use setting::{Effect, Entry, Location, Origin, Setting};
pub use source::{DEFAULT_PATH, Place, Sources};
pub use speaker::{carriers, discovery_number, fabric, originations, speaker_config, unnumbered};

/// Reads and validates the configuration at `path`: a file with the `conf.d/*.toml` beside it, or
/// a directory holding `wayleave.toml` and `conf.d`.
///
/// A missing file is an error unless `optional`: then the agent starts with no configuration.
///
/// # Errors
/// Everything that is wrong, with places and an excerpt of the source.
pub fn load(path: &Path, optional: bool, host: &HostFacts) -> Result<Config, ConfigErrors> {
    let sources = Sources::read(path, optional)?;
    parse(&sources, host)
}

/// Validates texts that were read already.
///
/// # Errors
/// Everything that is wrong with them.
pub fn parse(sources: &Sources, host: &HostFacts) -> Result<Config, ConfigErrors> {
    let mut faults = diagnostic::Faults::default();
    let document = raw::Document::read(sources, &mut faults);
    let config = check::check(document, sources, host, &mut faults);
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        _ => Err(faults.into_errors(sources)),
    }
}

/// The tables a configuration may have and the keys of each, in the order of the manual.
pub fn known_keys() -> Vec<(&'static str, &'static [&'static str])> {
    raw::Document::KEYS.to_vec()
}
