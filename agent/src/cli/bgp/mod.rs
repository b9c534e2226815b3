//! `wayleave bgp`: BGP messages and MRT files.

mod decode;
mod dump;
mod encode;
mod mrt;
mod new_file;
mod place;

use clap::{Args, Subcommand, ValueEnum};
use wayleave_bgp_core::message::Options;

use super::{Client, CommandError, Outcome, output::Output};

#[derive(Debug, Subcommand)]
pub(super) enum Bgp {
    /// Reads messages in hexadecimal from standard input; says what is in them and what a session
    /// would do with them, one JSON object a line. Does not need the agent.
    #[command(after_help = DECODE_HELP)]
    Decode(Session),
    /// Makes messages from such objects, one a line in hexadecimal. Does not need the agent.
    #[command(after_help = ENCODE_HELP)]
    Encode(Session),
    /// Writes a table of the agent into a file, as MRT (TABLE_DUMP_V2).
    #[command(after_help = dump::HELP)]
    Dump(dump::Dump),
    /// Reads an MRT file: one JSON object a record, or its messages in hexadecimal. Does not need the
    /// agent.
    #[command(after_help = mrt::HELP)]
    Mrt(mrt::Mrt),
}

const DECODE_HELP: &str = "\
White space is allowed everywhere and `#` begins a comment; a message may take several lines, and a \
line may hold several messages. After a message that would end the session the next ones are read \
all the same.

Example:
  $ echo ffffffffffffffffffffffffffffffff 0013 04 | wayleave bgp decode
  {\"type\":\"KEEPALIVE\",\"verdict\":\"ok\",\"section\":null,\"reset\":null,\"problems\":[]}

Exit codes: 0 a session would take every message as it is; 2 not every one; 1 wrong usage, or the \
input is not hexadecimal or is cut off (what stands before that is decoded).";

const ENCODE_HELP: &str = "\
The input is objects one after the other, or one array of them. The message is made from `type` and \
the content (`open`, `update`, `notification`, `route_refresh`), or from `hex` where there is none; \
what follows from these (`verdict`, names) need not be there.

Example:
  $ echo '{\"type\":\"UPDATE\",\"update\":{\"withdrawn\":[\"10.1.0.0/16\"]}}' | wayleave bgp encode
  ffffffffffffffffffffffffffffffff001a020003100a010000

Exit codes: 0 every message was made; 1 wrong usage, or an object is wrong (the ones before it are \
made).";

/// What the session has negotiated that the messages belong to.
#[derive(Debug, Args)]
pub(super) struct Session {
    /// AS numbers have four octets (RFC 6793). The default.
    #[arg(long, conflicts_with = "as2")]
    as4: bool,
    /// AS numbers have two octets.
    #[arg(long)]
    as2: bool,
    /// Families whose prefixes have path identifiers (RFC 7911).
    #[arg(long, value_enum, value_name = "FAMILY", value_delimiter = ',')]
    add_path: Vec<AddPath>,
    /// The peer is in another AS. The default.
    #[arg(long, conflicts_with = "ibgp")]
    ebgp: bool,
    /// The peer is in the same AS.
    #[arg(long)]
    ibgp: bool,
    /// Messages may have 65535 octets (RFC 8654), not 4096.
    #[arg(long)]
    extended: bool,
    /// IPv4 prefixes may have IPv6 next hops (RFC 8950).
    #[arg(long)]
    extended_next_hop: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AddPath {
    Ipv4,
    Ipv6,
}

impl Bgp {
    pub(super) fn exec(
        self,
        client: &Client,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        match self {
            Self::Decode(session) => decode::exec(session.options(), out),
            Self::Encode(session) => encode::exec(&session.options(), out),
            Self::Dump(dump) => dump.exec(client, out),
            Self::Mrt(mrt) => mrt.exec(out),
        }
    }
}

impl Session {
    fn options(&self) -> Options {
        Options {
            as4: !self.as2,
            ebgp: !self.ibgp,
            add_path: [AddPath::Ipv4, AddPath::Ipv6].map(|family| self.add_path.contains(&family)),
            extended: self.extended,
            extended_next_hop: self.extended_next_hop,
        }
    }
}
