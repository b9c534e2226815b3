//! `wayleave`: the command line. One file per subcommand, each with an `exec`.
//!
//! Tables for people and JSON for machines come from the same answer of the agent; JSON is passed
//! on as it came, so that a newer agent's fields are not lost.

mod bgp;
mod check_config;
mod client;
mod config;
mod deregister;
mod drain;
mod endpoints;
mod fib;
mod ipam;
mod output;
mod page;
mod peers;
mod policy;
mod problems;
mod register;
mod reload;
mod resolve;
mod route_pages;
mod routes;
mod services;
mod session;
mod show;
mod status;
mod table;
mod version;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};

pub use client::{Client, ClientError};

use crate::{api::ApiError, text::printable};
use output::Output;

/// Where the agent's socket is unless told otherwise.
const DEFAULT_SOCKET: &str = "/run/wayleave/wayleave.sock";

/// Looks at and steers the agent of this host.
#[derive(Debug, Parser)]
#[command(
    name = "wayleave",
    version,
    after_help = "Exit codes: 0 done; 1 wrong usage, or refused; 2 degraded (`status` with a \
                  problem of severity error, `ipam check` with any, `reload` with a wrong file of \
                  services, `bgp decode` with a message that is not `ok`, `bgp mrt` and `bgp dump` \
                  with a record that cannot be read or written), or a route rejected \
                  (`policy test`); 3 the agent cannot be reached."
)]
pub struct Cli {
    /// The agent's socket.
    #[arg(long, global = true, value_name = "PATH", env = "WAYLEAVE_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// How the answer is printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For people with wide terminals.
    Wide,
    /// For machines.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The agent as a whole, with its problems.
    Status,
    /// Sessions with neighbours: all, or one in detail.
    Peers(peers::Peers),
    /// Routes: what was heard, what is best, what was told, what the kernel has.
    Routes(routes::Routes),
    /// Addresses of this host: who has them, and whether everything agrees.
    #[command(subcommand)]
    Ipam(ipam::Ipam),
    /// What is announced in the fabric, address by address.
    Endpoints(endpoints::Endpoints),
    /// Services of the fabric, or of this host.
    Services(services::Services),
    /// Registers a service of this host; again: replaces it.
    Register(register::Register),
    /// Takes a registration back.
    Deregister(deregister::Deregister),
    /// Asks for no new connections to a service of this host.
    Drain(drain::Drain),
    /// Ends a drain or a maintenance.
    Undrain(drain::Undrain),
    /// Takes a service of this host out, with a reason, or back in.
    #[command(subcommand)]
    Maint(drain::Maint),
    /// What a name means: records as the name server answers, and what stands behind them.
    Resolve(resolve::Resolve),
    /// What is wrong, why, and what to do.
    Problems,
    /// Checks configuration files; does not need the agent.
    CheckConfig(check_config::CheckConfig),
    /// What a policy does to a route; does not need the agent.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// The configuration in effect, and what the files would change.
    #[command(subcommand)]
    Config(config::Config),
    /// Applies the configuration files: whole, or not at all.
    Reload,
    /// BGP messages, and MRT files: what is in them, and a table of the agent as one.
    #[command(subcommand)]
    Bgp(bgp::Bgp),
    /// What fingers trained on other routers type: `show bgp summary [json]`.
    Show(show::Show),
    /// Versions of this command and of the agent.
    Version,
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    Usage(String),
    /// It was said already.
    #[error("")]
    Told,
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}

/// What the process says at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Degraded,
}

/// Runs the command line to its end.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match execute(cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Degraded) => ExitCode::from(2),
        // The reader has seen enough (`wayleave routes | head`).
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            match error {
                CommandError::Client(ClientError::Unreachable { .. }) => ExitCode::from(3),
                CommandError::Client(ClientError::Refused(_) | ClientError::Answer { .. })
                | CommandError::Usage(_)
                | CommandError::Told
                | CommandError::Output(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn execute(cli: Cli) -> Result<Outcome, CommandError> {
    let stdout = io::stdout();
    let mut out = Output::new(stdout.lock(), cli.output);
    let client = Client::new(&cli.socket);
    let outcome = match cli.command {
        Command::Status => status::exec(&client, &mut out),
        Command::Peers(peers) => peers.exec(&client, &mut out),
        Command::Routes(routes) => routes.exec(&client, &mut out),
        Command::Ipam(ipam) => ipam.exec(&client, &mut out),
        Command::Endpoints(endpoints) => endpoints.exec(&client, &mut out),
        Command::Services(services) => services.exec(&client, &mut out),
        Command::Register(register) => register.exec(&client, &mut out),
        Command::Deregister(deregister) => deregister.exec(&client, &mut out),
        Command::Drain(drain) => drain.exec(&client, &mut out),
        Command::Undrain(undrain) => undrain.exec(&client, &mut out),
        Command::Maint(maint) => maint.exec(&client, &mut out),
        Command::Resolve(resolve) => resolve.exec(&client, &mut out),
        Command::Problems => problems::exec(&client, &mut out),
        Command::CheckConfig(check) => check.exec(&mut out),
        Command::Policy(policy) => policy.exec(&mut out),
        Command::Config(config) => config.exec(&client, &mut out),
        Command::Reload => reload::exec(&client, &mut out),
        Command::Bgp(bgp) => bgp.exec(&client, &mut out),
        Command::Show(show) => show.exec(&client, &mut out),
        Command::Version => version::exec(&client, &mut out),
    }?;
    out.flush()?;
    Ok(outcome)
}

fn complain(error: &CommandError) {
    let mut stderr = io::stderr().lock();
    let _ = match error {
        CommandError::Told => Ok(()),
        CommandError::Client(ClientError::Refused(error)) => refused(&mut stderr, error),
        CommandError::Client(_) | CommandError::Usage(_) | CommandError::Output(_) => {
            writeln!(stderr, "wayleave: {}", printable(&error.to_string()))
        }
    };
}

fn refused(out: &mut impl Write, error: &ApiError) -> io::Result<()> {
    writeln!(out, "wayleave: {}", printable(&error.message))?;
    for cause in &error.causes {
        for line in cause.lines() {
            writeln!(out, "  {}", printable(line))?;
        }
    }
    match &error.hint {
        Some(hint) => writeln!(out, "  = help: {}", printable(hint)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_the_manual_shows_parses() {
        for line in [
            "wayleave status",
            "wayleave status -o json",
            "wayleave -o wide --socket /tmp/x.sock peers",
            "wayleave peers --socket /tmp/x.sock -o json",
            "wayleave peers tor1",
            "wayleave peers show reset",
            "wayleave peers reset tor1",
            "wayleave peers reset tor1 --message maintenance",
            "wayleave peers shutdown tor1",
            "wayleave peers shutdown 192.0.2.254 --message maintenance",
            "wayleave peers enable tor1",
            "wayleave peers refresh tor1",
            "wayleave peers refresh tor1 --in --family ipv6",
            "wayleave peers refresh tor1 --out --family ipv4 -o json",
            "wayleave routes",
            "wayleave routes 10.1.0.0/16 --longer",
            "wayleave routes fd00::1",
            "wayleave routes --rib in --peer tor1 --family ipv6",
            "wayleave routes --rib out --peer tor1 -o json",
            "wayleave routes --rib fib",
            "wayleave routes --rib fib 10.1.0.0/16 --longer -o json",
            "wayleave ipam show",
            "wayleave ipam attachments -o wide",
            "wayleave ipam check",
            "wayleave ipam explain 10.1.7.5",
            "wayleave endpoints",
            "wayleave endpoints --service web.default --node h1 -o json",
            "wayleave endpoints 10.1.7.5",
            "wayleave services",
            "wayleave services --local -o wide",
            "wayleave register web --address 10.1.7.5",
            "wayleave register web --namespace shop --address 10.1.7.5 --address fd00::5 \
             --port http=8080/tcp --port 9090 --tag version=2 --weight 3 --priority 1 \
             --check http=/healthz --check tcp:9090 --interval 2s --id web-1",
            "wayleave register --file /etc/web.toml",
            "wayleave deregister web@10.1.7.5:8080",
            "wayleave drain web@10.1.7.5:8080",
            "wayleave undrain web",
            "wayleave maint on web --reason disk",
            "wayleave maint off web",
            "wayleave resolve web",
            "wayleave resolve _http._tcp.web --type SRV",
            "wayleave resolve 10.1.7.5 --type ptr",
            "wayleave problems",
            "wayleave check-config",
            "wayleave check-config /etc/wayleave",
            "wayleave policy test transit-in --prefix 10.1.0.0/16",
            "wayleave policy test transit-in --prefix 10.1.0.0/16 --as-path 65010 --community 65001:1 \
             --large 65001:1:2 --med 5 --local-pref 7 --next-hop 192.0.2.1 --peer tor --ebgp",
            "wayleave policy test fabric-export --stdin --source own --config /etc/wayleave -o json",
            "wayleave config show",
            "wayleave config diff",
            "wayleave reload",
            "wayleave bgp decode",
            "wayleave bgp decode --as2 --add-path ipv4,ipv6 --ibgp --extended",
            "wayleave bgp decode --as4 --ebgp --add-path ipv4 --add-path ipv6",
            "wayleave bgp encode --as2",
            "wayleave bgp dump routes.mrt",
            "wayleave bgp dump --rib in --peer tor1 --family ipv6 -",
            "wayleave bgp mrt updates.mrt",
            "wayleave bgp mrt --hex -",
            "wayleave show bgp summary",
            "wayleave show bgp summary json",
            "wayleave version",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_wrong_usage() {
        for line in [
            "wayleave",
            "wayleave statsu",
            "wayleave -o xml status",
            "wayleave routes --rib kernel",
            "wayleave ipam",
            "wayleave ipam explain",
            "wayleave ipam explain 10.1.7",
            "wayleave register",
            "wayleave register web",
            "wayleave register web --address 10.1.7",
            "wayleave register web --address 10.1.7.5 --port http",
            "wayleave register web --address 10.1.7.5 --port 70000",
            "wayleave register web --address 10.1.7.5 --port 80/ipx",
            "wayleave register web --address 10.1.7.5 --check icmp",
            "wayleave register web --address 10.1.7.5 --file x.toml",
            "wayleave deregister",
            "wayleave drain",
            "wayleave maint web",
            "wayleave resolve",
            "wayleave resolve web --type MX",
            "wayleave routes 10.1.0.0/99",
            "wayleave routes --rib out",
            "wayleave routes --longer",
            "wayleave peers reset",
            "wayleave peers shutdown",
            "wayleave peers enable tor1 --message TEXT",
            "wayleave peers refresh tor1 --in --out",
            "wayleave peers refresh tor1 --family vpnv4",
            "wayleave policy test transit-in",
            "wayleave policy test --prefix 10.1.0.0/16",
            "wayleave policy test transit-in --prefix 10.1.0.0/16 --ebgp --ibgp",
            "wayleave config",
            "wayleave bgp",
            "wayleave bgp decode --as2 --as4",
            "wayleave bgp decode --ebgp --ibgp",
            "wayleave bgp decode --add-path vpnv4",
            "wayleave bgp decode file",
            "wayleave bgp dump",
            "wayleave bgp dump --rib out file",
            "wayleave bgp mrt",
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.use_stderr(), "{line}");
        }
    }

    #[test]
    fn a_misspelt_command_is_guessed() {
        let error = parse("wayleave statsu").unwrap_err().to_string();
        assert!(error.contains("'status'"), "{error}");
    }
}
