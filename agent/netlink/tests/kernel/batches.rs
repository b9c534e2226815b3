//! Many changes, their answers, and answers that get lost.

use nix::errno::Errno;
use wayleave_netlink::{
    Acknowledge, Change, Family, Kernel, KernelError, NextHop, Protocol, Route, RouteFilter, Socket,
};

use crate::namespace::{apply, in_namespace, ip, prefix, uplink};

fn many(count: u32, hop: NextHop) -> Vec<Route> {
    (0..count)
        .map(|i| {
            let [_, a, b, c] = i.to_be_bytes();
            let prefix = prefix(&format!("10.{a}.{b}.{c}/32"));
            Route::unicast(prefix, Protocol::WAYLEAVE, hop).with_metric(20)
        })
        .collect()
}

#[test]
fn twenty_thousand_routes_go_in_are_listed_and_go_out_in_reverse_order() {
    for acknowledge in [Acknowledge::Last, Acknowledge::Each] {
        in_namespace(move || {
            let mut socket = Socket::open().expect("a socket");
            socket.acknowledge(acknowledge);
            let dev = uplink(&mut socket);
            let routes = many(20_000, NextHop::via(ip("192.0.2.2"), dev));
            apply(&mut socket, routes.iter().cloned().map(Change::RouteAdd));
            let filter = RouteFilter::all(Family::V4).protocol(Protocol::WAYLEAVE);
            let mut listed = socket.routes(filter).expect("a listing");
            listed.sort();
            assert!(
                listed == routes,
                "{} of {} listed",
                listed.len(),
                routes.len()
            );
            apply(
                &mut socket,
                routes
                    .iter()
                    .rev()
                    .map(|route| Change::RouteDelete(route.key())),
            );
            assert_eq!(socket.routes(filter).expect("a listing"), []);
            assert_eq!(socket.strays(), 0);
        });
    }
}

#[test]
fn each_failure_in_a_batch_is_the_result_of_its_own_change() {
    for acknowledge in [Acknowledge::Last, Acknowledge::Each] {
        in_namespace(move || {
            let mut socket = Socket::open().expect("a socket");
            socket.acknowledge(acknowledge);
            let dev = uplink(&mut socket);
            let routes = many(1_000, NextHop::via(ip("192.0.2.2"), dev));
            let (present, _) = routes.split_at(500);
            apply(
                &mut socket,
                present.iter().step_by(3).cloned().map(Change::RouteAdd),
            );
            let changes: Vec<_> = routes.iter().cloned().map(Change::RouteAdd).collect();
            for (index, result) in socket.apply(&changes).iter().enumerate() {
                let errno = result.as_ref().err().and_then(KernelError::errno);
                let expected = (index < 500 && index % 3 == 0).then_some(Errno::EEXIST);
                assert_eq!(errno, expected, "change {index}");
            }
        });
    }
}

#[test]
fn answers_lost_to_a_full_buffer_make_changes_uncertain_and_never_successful() {
    for acknowledge in [Acknowledge::Last, Acknowledge::Each] {
        in_namespace(move || {
            let mut socket = Socket::open().expect("a socket");
            socket.acknowledge(acknowledge);
            let dev = uplink(&mut socket);
            // The smallest buffer the kernel gives holds three or four answers.
            socket.set_receive_buffer(1).expect("a small buffer");
            let missing = many(200, NextHop::via(ip("192.0.2.2"), dev));
            let changes: Vec<_> = missing
                .iter()
                .map(|route| Change::RouteDelete(route.key()))
                .collect();
            let results = socket.apply(&changes);
            assert_eq!(results.len(), changes.len());
            let refused = results
                .iter()
                .flatten_errors()
                .filter(|e| e.is(Errno::ESRCH))
                .count();
            let uncertain = results
                .iter()
                .flatten_errors()
                .filter(|e| e.is_uncertain())
                .count();
            assert_eq!(refused + uncertain, 200, "{results:?}");
            assert!(
                refused >= 1 && uncertain >= 100,
                "{refused} refused, {uncertain} uncertain"
            );

            // The socket works on afterwards, and late answers are told from new ones.
            socket.set_receive_buffer(1 << 20).expect("a large buffer");
            apply(&mut socket, missing.iter().cloned().map(Change::RouteAdd));
        });
    }
}

trait FlattenErrors<'a> {
    fn flatten_errors(self) -> impl Iterator<Item = &'a KernelError>;
}

impl<'a, I: Iterator<Item = &'a Result<(), KernelError>>> FlattenErrors<'a> for I {
    fn flatten_errors(self) -> impl Iterator<Item = &'a KernelError> {
        self.filter_map(|result| result.as_ref().err())
    }
}
