//! Roles and ONLY_TO_CUSTOMER (RFC 9234). The daemon has two providers: us, and another of our agents,
//! whose route it may not pass on to us.

use std::net::IpAddr;

use serde_json::{Value, json};
use wayleave_lab::{Agent, End, Lab, LabError, Why, ensure};

use crate::interop::daemon::Daemon;
use crate::interop::documented::block;
use crate::interop::ours::{CONVERGED, DAEMON_AS, OWN, Pair, heard};
use crate::interop::{bird, exabgp, frr, gobgp, openbgpd};

/// The daemon's network, ours, and that of its other provider.
const THEIRS: &str = "198.51.100.0/24";
const OURS: &str = "203.0.113.0/24";
const FOREIGN: &str = "198.18.0.0/24";
/// Their numbers, in this order.
const NUMBERS: [u64; 3] = [65000, 65001, 65002];

crate::interop::tests! { frr::Tested, [Frr, Agent],
    frr_is_our_customer_and_no_other => roles::agree,
    frr_leaks_a_route_and_is_not_believed => roles::leak,
    frr_is_our_provider_and_is_not_told_of_another => roles::kept_back,
}
crate::interop::tests! { bird::Tested, [Bird, Agent],
    bird_is_our_customer_and_no_other => roles::agree,
    bird_leaks_a_route_and_is_not_believed => roles::leak,
    bird_is_our_provider_and_is_not_told_of_another => roles::kept_back,
}
crate::interop::tests! { openbgpd::Tested, [Agent],
    openbgpd_is_our_customer_and_no_other => roles::agree,
    openbgpd_leaks_a_route_and_is_not_believed => roles::leak,
    openbgpd_is_our_provider_and_is_not_told_of_another => roles::kept_back,
}
crate::interop::tests! { gobgp::Tested, [Agent],
    gobgp_has_no_role_and_is_let_in_unless_it_has_to_have_one => roles::none,
}
crate::interop::tests! { exabgp::Tested, [Agent],
    exabgp_has_no_role_and_is_let_in_unless_it_has_to_have_one => roles::none,
}

/// What the checks ask of a daemon that knows roles, beyond [`Daemon`].
pub(crate) trait Roles: Daemon {
    /// What it tells its operator of roles that do not fit.
    const MISMATCH: &str;

    /// What we say we are to it, by its command line.
    fn our_role(&self, us: IpAddr) -> Result<String, Why>;

    /// ONLY_TO_CUSTOMER of the route that it uses.
    fn mark(&self, prefix: &str) -> Result<Option<u64>, Why>;
}

pub(crate) fn agree<D: Roles>(lab: &Lab) -> Result<(), Why> {
    let net = Net::<D>::start(lab, |theirs| theirs, |ours| ours)?;
    lab.until(CONVERGED, "marked routes to cross", || {
        ensure!(mark(&net.heard(THEIRS)?).is_none(), "it marks its own");
        let of = |prefix| net.daemon.mark(prefix);
        ensure!(of(OURS)? == Some(NUMBERS[1]), "ours: {:?}", of(OURS)?);
        ensure!(of(FOREIGN)? == Some(NUMBERS[2]), "{:?}", of(FOREIGN)?);
        Ok(())
    })?;
    // By then it has the foreign route, and in a session that begins now it would tell it before the
    // end of its table. Without the role it does: that is the next check.
    net.agent.cli(["peers", "reset", "customer"])?;
    lab.until(CONVERGED, "it to have told everything again", || {
        let peer = net.peer()?;
        let told = peer["established_count"] == 2 && peer["ipv4"]["end_of_rib"] == true;
        ensure!(told, "{peer}");
        net.heard(THEIRS)
    })?;
    let kept = heard(&net.agent, "customer", FOREIGN);
    ensure!(kept.is_err(), "it leaks: {kept:?}");
    let role = net.daemon.our_role(net.us)?;
    ensure!(role == "provider", "it takes us for its {role}");
    let offered = net.peer()?["capabilities_received"].to_string();
    ensure!(offered.contains("\"role customer\""), "{offered}");

    // Two customers of each other there cannot be.
    net.reload(&net.config.replace("\"provider\"", "\"customer\""))?;
    net.refused(lab)?;
    lab.until(CONVERGED, "it to say why", || {
        let said = net.daemon.said()?;
        ensure!(said.contains(D::MISMATCH), "{said}");
        Ok(())
    })?;
    Ok(())
}

pub(crate) fn leak<D: Roles>(lab: &Lab) -> Result<(), Why> {
    let without = |theirs: String| {
        // The first is about us.
        let role = theirs.lines().find(|line| line.contains(" customer"));
        let role = role.unwrap_or_default().to_owned();
        theirs.replacen(&role, "", 1)
    };
    let net = Net::<D>::start(lab, without, |ours| ours)?;
    lab.until(CONVERGED, "the leak to be seen", || {
        ensure!(
            net.heard(THEIRS)?["refused"].is_null(),
            "its own is refused"
        );
        let leak = net.heard(FOREIGN)?;
        let why = leak["refused"].as_str().unwrap_or_default();
        ensure!(why.contains("RFC 9234"), "{leak}");
        ensure!(mark(&leak) == Some(NUMBERS[2]), "{leak}");
        Ok(())
    })?;
    let used = net.agent.cli(["routes", FOREIGN])?;
    ensure!(used["routes"] == json!([]), "{used}");
    // Who has to say what it is and does not is not let in at all.
    let strict = net.config.replace(
        "bgp_role = \"provider\"",
        "bgp_role = \"provider\"\nbgp_role_strict = true",
    );
    net.reload(&strict)?;
    net.refused(lab)?;
    Ok(())
}

pub(crate) fn kept_back<D: Roles>(lab: &Lab) -> Result<(), Why> {
    let provider = |theirs: String| theirs.replacen(" customer", " provider", 1);
    // We have the other provider too, and at first no role towards the daemon.
    let both = |ours: String| {
        let ours = ours.replace("bgp_role = \"provider\"\n", "");
        ours + "\n[[peer]]\nname = \"other\"\naddress = \"192.0.2.3\"\nasn = 65002\n\
                bgp_role = \"customer\"\nimport = \"all\"\nexport = \"own\"\n"
    };
    let net = Net::<D>::start(lab, provider, both)?;
    let told = || -> Result<Vec<String>, Why> {
        let words = ["routes", "--rib", "out", "--peer", "customer"];
        let answer = net.agent.cli(words)?;
        let routes = answer["routes"].as_array().ok_or("no list of routes")?;
        let prefixes = routes.iter().filter_map(|route| route["prefix"].as_str());
        let mut prefixes: Vec<_> = prefixes
            .filter(|prefix| *prefix != THEIRS)
            .map(str::to_owned)
            .collect();
        prefixes.sort();
        Ok(prefixes)
    };
    lab.until(CONVERGED, "all to be told without a role", || {
        let told = told()?;
        ensure!(told == [FOREIGN, OURS], "{told:?}");
        Ok(())
    })?;
    net.reload(&net.config.replace(
        "name = \"customer\"\n",
        "name = \"customer\"\nbgp_role = \"customer\"\n",
    ))?;
    lab.until(CONVERGED, "our own alone to be told to a provider", || {
        let told = told()?;
        ensure!(told == [OURS], "{told:?}");
        let theirs = net.heard(THEIRS)?;
        ensure!(mark(&theirs) == Some(NUMBERS[0]), "{theirs}");
        ensure!(net.daemon.mark(OURS)?.is_none(), "ours is marked");
        let role = net.daemon.our_role(net.us)?;
        ensure!(role == "customer", "it takes us for its {role}");
        Ok(())
    })?;
    Ok(())
}

pub(crate) fn none<D: Daemon>(lab: &Lab) -> Result<(), Why> {
    let role = "bgp_role = \"provider\"";
    let pair = Pair::<D>::start(lab, |_| {}, role)?;
    pair.wait_for_routes(lab)?;
    let offered = pair.peer()?["capabilities_received"].to_string();
    ensure!(!offered.contains("role "), "{offered}");
    let strict = format!("{role}\nbgp_role_strict = true");
    let strict = Pair::<D>::config(&pair.link, DAEMON_AS, &strict, &OWN);
    pair.agent.write_config(&strict)?;
    pair.agent.cli(["reload"])?;
    refused(lab, &pair.agent, "daemon")?;
    Ok(())
}

/// Us, the daemon and its other provider on a switch. We call the daemon `customer`.
struct Net<D> {
    daemon: D,
    agent: Agent,
    us: IpAddr,
    /// What the agent has been started with.
    config: String,
}

impl<D: Roles> Net<D> {
    /// Starts all with the configurations of the documentation, changed by these.
    fn start(
        lab: &Lab,
        of_daemon: impl FnOnce(String) -> String,
        of_agent: impl FnOnce(String) -> String,
    ) -> Result<Self, Why> {
        let hosts = [lab.host("us")?, lab.host("far")?, lab.host("other")?];
        let switch = lab.switch("sw", &hosts.each_ref())?;
        let ends: Vec<&End> = switch.ends.iter().collect();
        let theirs = block(&format!("{}, with roles", D::HEADING), 0, &ends)?;
        let daemon = D::run(lab, &hosts[1], &of_daemon(theirs))?;
        let ours = of_agent(block("The agent, with roles", 0, &[])?) + "[fib]\ninstall = false\n";
        let config = ours
            .replace("192.0.2.2", &ends[1].v4.to_string())
            .replace("192.0.2.3", &ends[2].v4.to_string());
        let agent = lab.agent(&hosts[0], &config)?;
        lab.agent(&hosts[2], &other(&[(ends[1], 65000), (ends[0], 65001)]))?;
        Ok(Self {
            daemon,
            agent,
            us: ends[0].v4.into(),
            config,
        })
    }

    fn peer(&self) -> Result<Value, Why> {
        Ok(self.agent.cli(["peers", "customer"])?)
    }

    fn reload(&self, config: &str) -> Result<(), Why> {
        ensure!(config != self.config, "nothing has been changed");
        self.agent.write_config(config)?;
        self.agent.cli(["reload"])?;
        Ok(())
    }

    /// What the daemon told us of a prefix, refused or not.
    fn heard(&self, prefix: &str) -> Result<Value, Why> {
        let words = ["routes", "--rib", "in", "--peer", "customer", prefix];
        let route = self.agent.cli(words)?["routes"][0].clone();
        ensure!(route.is_object(), "it told nothing of {prefix}");
        Ok(route)
    }

    fn refused(&self, lab: &Lab) -> Result<(), LabError> {
        refused(lab, &self.agent, "customer")
    }
}

/// The session is not there, for Role Mismatch. Both sides may be the first to say so.
fn refused(lab: &Lab, agent: &Agent, peer: &str) -> Result<(), LabError> {
    lab.until(CONVERGED, "the session to be refused", || {
        let peer = agent.cli(["peers", peer])?;
        ensure!(peer["state"] != "Established", "it is up");
        let (code, why) = (&peer["last_error_code"], &peer["last_error"]);
        ensure!(code["code"] == 2 && code["subcode"] == 11, "{code}: {why}");
        Ok(())
    })
}

/// ONLY_TO_CUSTOMER of a route as our agent shows it.
fn mark(route: &Value) -> Option<u64> {
    const ONLY_TO_CUSTOMER: u64 = 35;
    let unknown = route["attributes"]["unknown"].as_array()?;
    let mark = unknown
        .iter()
        .find(|attribute| attribute["code"] == ONLY_TO_CUSTOMER)?;
    let octets = mark["value"].as_array()?.iter();
    octets
        .map(Value::as_u64)
        .try_fold(0, |number, octet| Some((number << 8) | octet?))
}

/// The other provider of these.
fn other(customers: &[(&End, u32)]) -> String {
    let mut text = format!(
        "[bgp]\nasn = 65002\nconnect_retry = 1\noriginate = [\"{FOREIGN}\"]\n\
         [fib]\ninstall = false\n"
    );
    for (end, asn) in customers {
        text += &format!(
            "[[peer]]\nname = \"as{asn}\"\naddress = \"{}\"\nasn = {asn}\nbgp_role = \"provider\"\n\
             bfd = false\nimport = \"none\"\nexport = \"own\"\n",
            end.v4
        );
    }
    text
}
