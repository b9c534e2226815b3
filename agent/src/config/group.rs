//! `[[peer_group]]`: what several peers and ranges have in common, written once.
//!
//! A member is read as if its group's keys stood in its own table, but for those it has itself. So
//! there are no groups any more once the configuration is checked: whoever acts on it, or compares
//! two of them, sees members that differ or do not.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    check::Check,
    diagnostic::{Fault, nearest},
    options::RawOptions,
    peer::{LONGEST_NAME, is_name},
    raw::RawGroup,
    setting::Setting,
    source::Place,
    value::Found,
};

/// The groups, by name.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_name: BTreeMap<String, (RawGroup, Place)>,
}

impl Groups {
    /// Checks each group by itself: what is wrong with one is said once, however many members it has.
    pub(super) fn new(raw: Vec<RawGroup>, check: &mut Check<'_>) -> Self {
        let mut groups = Self::default();
        for mut raw in raw {
            let header = raw.place.clone().unwrap_or_default();
            check.require(raw.name.as_ref(), |name| is_name(name), |name| {
                format!("`peer_group.name`: expected 1 to {LONGEST_NAME} of letters, digits and `._:%-`, found {name:?}")
            });
            RawOptions::of_group(&raw, &header).check_values(check);
            let lacks = raw.lacks("name");
            let Some(name) = raw.name.clone() else {
                let fault =
                    Fault::new("`name` is missing in [[peer_group]]: how do its members name it?");
                let help = "write name = \"tor\", and group = \"tor\" in its members";
                check.missing(lacks, fault.at(&header).help(help));
                continue;
            };
            if let Some((_, first)) = groups.by_name.get(&name.value) {
                let fault = Fault::new(format!("two peer groups have the name {:?}", name.value));
                let fault = fault.at(&name.place).also("the first is here", first);
                check.faults.push(fault);
                continue;
            }
            raw.mark(&Arc::from(name.value.as_str()));
            groups.by_name.insert(name.value, (raw, name.place));
        }
        groups
    }

    /// The names of all groups, and where they stand.
    pub(super) fn names(&self, check: &Check<'_>) -> Vec<Setting<String>> {
        let named = self.by_name.iter().map(|(name, (_, place))| Setting {
            value: name.clone(),
            origin: check.sources.origin(place),
        });
        named.collect()
    }

    /// The group of this name; says so when there is none.
    pub(super) fn find(
        &self,
        table: &str,
        name: &Found<String>,
        check: &mut Check<'_>,
    ) -> Option<&RawGroup> {
        if let Some((group, _)) = self.by_name.get(&name.value) {
            return Some(group);
        }
        let wanted = &name.value;
        let fault = Fault::new(format!(
            "`{table}.group`: there is no peer group {wanted:?}"
        ));
        let known = self.by_name.keys().map(String::as_str);
        check
            .faults
            .push(fault.at(&name.place).help(match nearest(wanted, known) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("write [[peer_group]] with name = {wanted:?}"),
            }));
        None
    }
}
