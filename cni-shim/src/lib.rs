//! The CNI plugin of Wayleave, as a library: what a runtime and the agent say to each other.
//!
//! A container runtime executes `wayleave-cni` for every call. The plugin ([`plugin::run`]) checks the call, opens the
//! container's network namespace, makes a netlink socket inside it, and hands both to the agent over its CNI socket
//! ([`frame`], [`message`]). The agent does the work; what only a member of the namespace can do it sends back as
//! [`message::Step`]s, which the plugin performs inside. The answer goes to the runtime in the CNI version it asked for.
//!
//! Supported are CNI 0.3.1, 0.4.0, 1.0.0 and 1.1.0 ([`version`]). Nothing here is asynchronous: a process that lives for a
//! millisecond has no use for it, and the agent serves this socket from threads of its own.
//!
//! Not here: capabilities `portMappings`, `bandwidth` and `aliases`, and modes other than `routed`. They are refused with
//! code 2, never ignored ([`config`]).

pub mod address;
pub mod client;
pub mod config;
pub mod environment;
pub mod error;
pub mod frame;
pub mod fuzz;
pub mod message;
pub mod namespace;
pub mod plugin;
pub mod result;
pub mod version;

mod descriptors;

pub use descriptors::netns_cookie;
pub use error::CniError;
pub use version::SpecVersion;

/// Where the agent listens unless the network configuration's `socket` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/wayleave/cni.sock";
