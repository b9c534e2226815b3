//! The codec, from outside: tables by RFC section, properties, and octets that other daemons
//! made.

mod allocation;
mod as4;
mod attributes;
mod build;
mod decode;
mod decode_properties;
mod egress;
mod golden;
mod messages;
mod packing;
mod properties;
mod rfc7606;
mod verdicts;
