//! What the standards demand of a whole speaker, told octet by octet.

mod attributes;
mod borders;
mod communities;
mod next_hops;
mod paths;
mod reflection;
mod refresh;
mod sessions;
mod stage;
mod states;
mod updates;
