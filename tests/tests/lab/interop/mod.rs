//! Our speaker beside five others, each of them a real process. Every check is made of every daemon;
//! docs/interop.md is its outcome.

mod between;
mod bird;
mod close;
mod crossing;
mod daemon;
mod documented;
mod dumps;
mod exabgp;
mod frr;
mod gobgp;
mod internal;
mod limits;
mod long_messages;
mod numbers;
mod openbgpd;
mod operators;
mod ours;
mod over_ipv6;
mod paths;
mod refresh;
mod restart;
mod roles;
mod signed;
mod withdrawal;

/// The tests of one daemon.
macro_rules! matrix {
    ($daemon:ty, [$($need:ident),*]) => {
        $crate::interop::tests! { $daemon, [$($need),*],
            routes_with_all_their_attributes_cross_us => crossing::cross,
            an_ipv6_next_hop_over_an_ipv4_session => crossing::unset_next_hop,
            a_withdrawn_route_goes_on_either_side => withdrawal::goes,
            a_daemon_that_was_killed_comes_back_with_its_routes => restart::comes_back,
            a_table_is_asked_for_again => refresh::asked_for,
            a_session_is_signed_or_not_there => signed::signed,
            what_our_operator_says_is_shown_there => close::ours,
            what_its_operator_says_is_shown_here => close::theirs,
            too_many_prefixes_from_it_close_the_session => limits::ours,
            too_many_prefixes_from_us_close_the_session => limits::theirs,
            the_documented_session_comes_up => documented::comes_up,
            we_reflect_a_route_as_it_is => internal::reflected,
            both_sides_tell_two_paths_to_a_prefix => paths::both_ways,
            two_paths_come_back_after_either_side_was_killed => paths::killed,
            a_route_that_outgrows_a_message_goes_on_to_those_who_take_it => long_messages::sink,
            a_route_past_4096_octets_is_taken_from_it => long_messages::source,
        }
        $crate::interop::tests! { $daemon, [$($need,)* Cni],
            an_endpoint_passes_it_between_two_ases => between::transit,
            an_endpoint_passes_it_as_a_reflector => between::reflector,
        }
    };
}

macro_rules! tests {
    ($daemon:ty, $needs:tt, $($name:ident => $module:ident::$check:ident,)*) => {
        $(#[test]
        fn $name() {
            $crate::interop::needs!($needs).run(|lab| {
                if let Some(why) = <$daemon as $crate::interop::daemon::Daemon>::missing() {
                    return lab.skip(why);
                }
                $crate::interop::$module::$check::<$daemon>(lab)
            });
        })*
    };
}

macro_rules! needs {
    ([$($need:ident),*]) => {
        wayleave_lab::lab!($($need),*)
    };
}

use {matrix, needs, tests};
