//! What is measured, in which unit, and what several runs of it come to.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::daemon::Kind;

/// A figure a run yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    Transfer,
    TransferCpu,
    BytesPerRoute,
    Redundant,
    LatencyP50,
    LatencyP99,
    LatencySamples,
    AwakeLatencyP50,
    AwakeLatencyP99,
    Withdraw,
    Reannounce,
    LateJoiner,
    PeerDown,
    Readers,
    BesideSlow,
    SlowMemory,
    SlowPeak,
    CatchUp,
    BesideDead,
    DeadMemory,
    DeadPeak,
    DeadDropped,
    Reflect,
    ReflectCpu,
    ReflectMemory,
    Echoed,
    NodeDown,
    Installed,
    InstalledCpu,
    InstalledBytes,
    FibP50,
    FibP99,
    FibSamples,
    AwakeFibP50,
    AwakeFibP99,
    Uninstalled,
    InstalledAgain,
    FibPeerDown,
    KeepaliveGap,
    Resynced,
    NextHopMoved,
    NextHopTold,
    NextHopObject,
}

impl Metric {
    /// What a row is called.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Transfer => "in from one peer, out to another, s",
            Self::TransferCpu => "processor time of that, s",
            Self::BytesPerRoute => "memory per route, bytes",
            Self::Redundant => "updates that changed nothing",
            Self::LatencyP50 => "one change, p50, us",
            Self::LatencyP99 => "one change, p99, us",
            Self::LatencySamples => "changes sampled",
            Self::AwakeLatencyP50 => "the same with no processor halted, p50, us",
            Self::AwakeLatencyP99 => "the same with no processor halted, p99, us",
            Self::Withdraw => "all withdrawn, s",
            Self::Reannounce => "all announced again, s",
            Self::LateJoiner => "late joiner has all, s",
            Self::PeerDown => "announcing peer gone, all know, s",
            Self::Readers => "in, out to many, withdrawn, in again, s",
            Self::BesideSlow => "the same beside a peer that reads 10 kB/s, s",
            Self::SlowMemory => "memory more for that, MiB",
            Self::SlowPeak => "memory more at the peak, MiB",
            Self::CatchUp => "it reads as fast as it can and has all, s",
            Self::BesideDead => "the same beside a peer that reads nothing, s",
            Self::DeadMemory => "memory more for that one, MiB",
            Self::DeadPeak => "memory more for that one at the peak, MiB",
            Self::DeadDropped => "it is let go of, due after 12 s, s",
            Self::Reflect => "everybody has everything, s",
            Self::ReflectCpu => "processor time of that, s",
            Self::ReflectMemory => "memory grown by, MB",
            Self::Echoed => "own routes sent back",
            Self::NodeDown => "one peer gone, all know, ms",
            Self::Installed => "all in the kernel, s",
            Self::InstalledCpu => "processor time of that, s",
            Self::InstalledBytes => "memory per route, bytes",
            Self::FibP50 => "one prefix into the kernel, p50, us",
            Self::FibP99 => "one prefix into the kernel, p99, us",
            Self::FibSamples => "prefixes sampled",
            Self::AwakeFibP50 => "the same with no processor halted, p50, us",
            Self::AwakeFibP99 => "the same with no processor halted, p99, us",
            Self::Uninstalled => "withdrawn, all out of the kernel, s",
            Self::InstalledAgain => "announced again, all in the kernel, s",
            Self::FibPeerDown => "announcing peer gone, all out of the kernel, s",
            Self::KeepaliveGap => "keepalives meanwhile (hold time 3 s), longest gap, ms",
            Self::Resynced => "news lost and routes with them, all restored, s",
            Self::NextHopMoved => "next hop moves, half as many routes lead there, ms",
            Self::NextHopTold => "the kernel has said so of each, ms",
            Self::NextHopObject => "one nexthop object replaced, all lead there, ms",
        }
    }

    /// Digits after the point.
    fn digits(self) -> usize {
        match self {
            Self::Transfer
            | Self::TransferCpu
            | Self::Withdraw
            | Self::Reannounce
            | Self::LateJoiner
            | Self::PeerDown
            | Self::Readers
            | Self::BesideSlow
            | Self::BesideDead
            | Self::CatchUp
            | Self::Reflect
            | Self::ReflectCpu
            | Self::Installed
            | Self::InstalledCpu
            | Self::Uninstalled
            | Self::InstalledAgain
            | Self::FibPeerDown
            | Self::Resynced => 3,
            Self::NodeDown
            | Self::ReflectMemory
            | Self::SlowMemory
            | Self::SlowPeak
            | Self::DeadMemory
            | Self::DeadPeak
            | Self::DeadDropped
            | Self::NextHopMoved
            | Self::NextHopTold
            | Self::NextHopObject => 1,
            Self::BytesPerRoute
            | Self::Redundant
            | Self::LatencyP50
            | Self::LatencyP99
            | Self::LatencySamples
            | Self::AwakeLatencyP50
            | Self::AwakeLatencyP99
            | Self::AwakeFibP50
            | Self::AwakeFibP99
            | Self::Echoed
            | Self::InstalledBytes
            | Self::KeepaliveGap
            | Self::FibP50
            | Self::FibP99
            | Self::FibSamples => 0,
        }
    }

    /// Whether less is better; the others are only stated.
    fn compared(self) -> bool {
        !matches!(
            self,
            Self::Redundant
                | Self::LatencySamples
                | Self::FibSamples
                | Self::Echoed
                | Self::SlowMemory
                | Self::SlowPeak
                | Self::DeadMemory
                | Self::DeadPeak
                | Self::DeadDropped
        )
    }
}

/// One figure of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    pub(crate) metric: Metric,
    pub(crate) value: f64,
}

/// One scenario over all daemons and runs: a table of the report.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) key: String,
    /// What ratios are relative to, where it is not what the report says.
    pub(crate) yardstick: Option<Kind>,
    pub(crate) figures: BTreeMap<Metric, BTreeMap<Kind, Vec<f64>>>,
    /// Figures that are not there though the run is right: whose, and why.
    pub(crate) remarks: Vec<(Kind, String)>,
    /// Who cannot do this at all, and why.
    pub(crate) absent: Vec<(Kind, String)>,
    /// Runs that failed: whose, and why.
    pub(crate) failures: Vec<(Kind, String)>,
}

impl Section {
    pub(crate) fn add(&mut self, kind: Kind, measured: &[Measurement]) {
        for one in measured {
            self.figures
                .entry(one.metric)
                .or_default()
                .entry(kind)
                .or_default()
                .push(one.value);
        }
    }

    /// The median of a figure.
    pub(crate) fn median(&self, metric: Metric, kind: Kind) -> Option<f64> {
        median(self.figures.get(&metric)?.get(&kind)?)
    }

    /// A figure as it is printed, with its ratio to the yardstick's.
    pub(crate) fn cell(&self, metric: Metric, kind: Kind, yardstick: Kind) -> String {
        let Some(value) = self.median(metric, kind) else {
            return "-".to_owned();
        };
        let value_text = format!("{value:.*}", metric.digits());
        let base = self.median(metric, yardstick).filter(|base| *base > 0.0);
        match base.filter(|_| kind != yardstick && metric.compared()) {
            Some(base) => format!("{value_text} ({:.2}x)", value / base),
            None => value_text,
        }
    }
}

/// The middle value, or the mean of the two middle ones.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    values
        .get(middle.wrapping_sub(1))
        .map(|lower| f64::midpoint(*lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_the_outlier_and_nothing_has_none() {
        assert_eq!(median(&[3.0, 100.0, 1.0]), Some(3.0));
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_cell_shows_the_ratio_beside_the_yardstick_only_where_it_means_something() {
        let mut section = Section::default();
        for (kind, value) in [(Kind::Bird, 2.0), (Kind::Wayleaved, 0.5)] {
            for metric in [Metric::Transfer, Metric::LatencySamples] {
                section.add(kind, &[Measurement { metric, value }]);
            }
        }
        let cell = |metric, kind| section.cell(metric, kind, Kind::Bird);
        assert_eq!(cell(Metric::Transfer, Kind::Bird), "2.000");
        assert_eq!(cell(Metric::Transfer, Kind::Wayleaved), "0.500 (0.25x)");
        assert_eq!(cell(Metric::Transfer, Kind::Frr), "-");
        assert_eq!(cell(Metric::LatencySamples, Kind::Wayleaved), "0");
    }
}
