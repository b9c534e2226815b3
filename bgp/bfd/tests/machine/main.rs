//! The machine from outside: the rules one by one, then two machines over a bad link.

#![allow(clippy::unwrap_used, missing_docs)]

mod demand;
mod demultiplexing;
mod leaving;
mod link;
mod reception;
mod simulation;
mod single;
mod timers;
