//! What the standards demand of a whole speaker, told octet by octet.

mod attributes;
mod borders;
mod communities;
mod long_messages;
mod malformed;
mod next_hops;
mod paths;
mod reflection;
mod refresh;
mod roles;
mod sessions;
mod stage;
mod states;
mod updates;
