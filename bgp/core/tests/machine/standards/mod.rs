//! What the standards demand of a whole speaker, told octet by octet.

mod attributes;
mod borders;
mod communities;
mod long_messages;
mod malformed;
mod migration;
mod next_hops;
mod operators;
mod paths;
mod reachability;
mod reflection;
mod refresh;
mod roles;
mod sessions;
mod stage;
mod states;
mod updates;
