//! A whole life of a speaker from octets: peers that say anything in any order, time that passes,
//! routes, policy and settings that change; and then peers that behave, to whom nothing of it may
//! matter.
//!
//! The fuzz target `session` and the tests below run the same [`fuzz_one`].

mod ear;
mod end;
mod play;
pub(crate) mod seeds;
pub(crate) mod step;
mod world;

use self::{step::Setup, step::Step, world::World};

/// Plays the steps that the octets say.
///
/// # Panics
/// When the speaker does what it must not: that is the finding.
pub(crate) fn fuzz_one(data: &[u8]) {
    let (setup, steps) = step::decode(data);
    run(setup, &steps);
}

/// Plays the steps, then sees to it that the next sessions work.
pub(crate) fn run(setup: Setup, steps: &[Step]) {
    let mut world = World::new(setup);
    for step in steps {
        world.play(step);
    }
    world.end();
}

#[cfg(test)]
mod tests;
