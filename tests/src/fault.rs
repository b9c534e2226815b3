//! Faults that a kernel without `netem` can inject: links that swallow packets and ports that are
//! blocked, without any interface going down.

use crate::error::LabError;
use crate::host::Host;
use crate::lab::Lab;
use crate::link::{End, Link};

/// Every nftables table of a fault begins with this; the oracle knows them for the test's own.
pub(crate) const TABLE: &str = "lab-fault";

/// A fault that lasts until it is healed, or until this is dropped.
#[derive(Debug)]
#[must_use = "a fault that is dropped is healed"]
pub struct Fault {
    tables: Vec<(Host, String)>,
}

impl End {
    /// Lets nothing in that arrives here, and tells nobody: the far end's packets die silently.
    pub fn deafen(&self) -> Result<Fault, LabError> {
        Lab::fault_ahead();
        let device = &self.name;
        let name = format!("{TABLE}-deaf-{device}");
        let rules = format!(
            "table netdev {name} {{ chain in {{ \
             type filter hook ingress device \"{device}\" priority -500; policy drop; }}; }}"
        );
        self.host.run(["nft", &rules])?;
        Ok(Fault {
            tables: vec![(self.host.clone(), format!("netdev {name}"))],
        })
    }
}

impl Link {
    /// Swallows all packets both ways while both ends stay up.
    pub fn silence(&self) -> Result<Fault, LabError> {
        let mut fault = self.a.deafen()?;
        fault.tables.append(&mut self.b.deafen()?.disarm());
        Ok(fault)
    }
}

impl Host {
    /// Drops TCP to and from a port on this host; everything else passes.
    pub fn block_tcp(&self, port: u16) -> Result<Fault, LabError> {
        Lab::fault_ahead();
        let name = format!("{TABLE}-tcp-{port}");
        let drop = format!("tcp dport {port} drop; tcp sport {port} drop;");
        let rules = format!(
            "table inet {name} {{ \
             chain in {{ type filter hook input priority -500; {drop} }}; \
             chain out {{ type filter hook output priority -500; {drop} }}; }}"
        );
        self.run(["nft", &rules])?;
        Ok(Fault {
            tables: vec![(self.clone(), format!("inet {name}"))],
        })
    }
}

impl Fault {
    /// Takes the fault away.
    pub fn heal(self) -> Result<(), LabError> {
        for (host, table) in self.disarm() {
            remove(&host, &table)?;
        }
        Ok(())
    }

    /// What there is to heal; dropping the fault no longer does it.
    fn disarm(mut self) -> Vec<(Host, String)> {
        std::mem::take(&mut self.tables)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        for (host, table) in &self.tables {
            // The test has failed or is over; its world goes anyway.
            let _ = remove(host, table);
        }
    }
}

fn remove(host: &Host, table: &str) -> Result<(), LabError> {
    host.run(["nft", &format!("delete table {table}")])
        .map(drop)
}
