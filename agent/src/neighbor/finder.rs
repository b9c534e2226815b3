//! All searches, and what they go by: which interfaces are wanted, and how they stand.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use wayleave_bgp_core::Time;
use wayleave_netlink::{Event, Object};

use super::{
    host::Host,
    message::Message,
    search::{Say, Search},
    trouble,
};
use crate::problem::Problem;

/// The machine: it is told what happens and asked what is to be done, and owns no socket.
#[derive(Debug)]
pub(super) struct Finder {
    host: Host,
    searches: BTreeMap<String, Search>,
    seed: u64,
}

impl Finder {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            host: Host::default(),
            searches: BTreeMap::new(),
            seed,
        }
    }

    /// Neighbours are wanted on these interfaces, and on no others.
    pub(super) fn want(&mut self, now: Time, interfaces: &BTreeSet<String>) {
        self.searches.retain(|name, _| interfaces.contains(name));
        for (name, number) in interfaces.iter().zip(1..) {
            if !self.searches.contains_key(name) {
                let search = Search::new(now, self.seed ^ number << 56);
                self.searches.insert(name.clone(), search);
            }
        }
        self.look(now);
    }

    /// These are all interfaces and addresses there are.
    pub(super) fn listed(&mut self, now: Time, objects: Vec<Object>) {
        self.host = Host::default();
        // An address is kept whether or not its interface was heard of before.
        for object in objects {
            self.note(Event::New(object));
        }
        self.look(now);
    }

    /// Something has happened to interfaces or addresses. Whether they have to be listed anew.
    #[must_use]
    pub(super) fn happened(&mut self, now: Time, event: Event) -> bool {
        if matches!(event, Event::Overrun) {
            return true;
        }
        self.note(event);
        self.look(now);
        false
    }

    /// A message has come. The interface on which the neighbour has this address, if it says so.
    pub(super) fn received(
        &mut self,
        now: Time,
        ifindex: u32,
        source: Ipv6Addr,
        message: Message,
    ) -> Option<&str> {
        if self.host.is_ours(source) {
            return None;
        }
        let name = self.host.name(ifindex)?;
        let search = self.searches.get_mut(name)?;
        match message {
            Message::Solicitation => {
                search.solicited(now);
                None
            }
            Message::Advertisement(_) => search.advertised(now, source).then_some(name),
        }
    }

    /// What is to be sent now.
    pub(super) fn step(&mut self, now: Time) -> Vec<(String, Say)> {
        let all = self.searches.iter_mut();
        all.filter_map(|(name, search)| Some((name.clone(), search.step(now)?)))
            .collect()
    }

    /// What became of that.
    pub(super) fn sent(&mut self, interface: &str, outcome: Result<(), String>) {
        if let Some(search) = self.searches.get_mut(interface) {
            search.sent(outcome);
        }
    }

    /// The numbers of the interfaces on which somebody is looked for at present.
    pub(super) fn outlets(&self) -> BTreeSet<u32> {
        let all = self.searches.values();
        all.filter_map(Search::outlet).collect()
    }

    /// When there is something to do without anything happening before.
    pub(super) fn next_due(&self, now: Time) -> Option<Time> {
        let all = self.searches.values();
        all.filter_map(|search| search.next_due(now)).min()
    }

    /// What an operator should know.
    pub(super) fn problems(&self, now: Time) -> Vec<Problem> {
        let all = self.searches.iter();
        all.flat_map(|(name, search)| trouble::of_search(name, search, now))
            .collect()
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::New(Object::Link(link)) => self.host.link_is(&link),
            Event::Gone(Object::Link(link)) => self.host.link_is_gone(link.ifindex),
            Event::New(Object::Address(address)) => self.host.address_is(&address),
            Event::Gone(Object::Address(address)) => self.host.address_is_gone(&address),
            Event::New(_)
            | Event::Gone(_)
            | Event::Replaced(_)
            | Event::Dropped(_)
            | Event::Overrun => {}
        }
    }

    fn look(&mut self, now: Time) {
        for (name, search) in &mut self.searches {
            search.stands(now, self.host.standing(name));
        }
    }
}
