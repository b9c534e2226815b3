//! `wayleave bgp mrt`: what is in an MRT file.

mod input;
mod show;

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::PathBuf,
};

use clap::Args;
use wayleave_bgp_core::{
    message::Hex,
    mrt::{Content, Message, Record},
};

use self::{
    input::{Fault, Records},
    show::{Show, time},
};
use super::{
    super::{CommandError, Outcome, output::Output},
    new_file::cannot,
};
use crate::text::{io_reason, printable};

pub(super) const HELP: &str = "\
Tables (TABLE_DUMP_V2) have an object for each prefix with all its paths, recorded sessions (BGP4MP, \
BGP4MP_ET) one for each message, with what `wayleave bgp decode` says of it, and for each step of the \
state machine. Records of other types are shown in hexadecimal. A record that cannot be read says so \
in `error`, and the next ones are read all the same. Compressed files are decompressed by others.

Examples:
  $ zcat updates.gz | wayleave bgp mrt - | jq -r '.message.update.nlri[]?.prefix'
  $ wayleave bgp mrt --hex updates.mrt | wayleave bgp decode

Exit codes: 0 every record was read; 2 not every one; 1 wrong usage, or the file cannot be read or \
ends within a record (the ones before it are shown).";

#[derive(Debug, Args)]
pub(in super::super) struct Mrt {
    /// Only the BGP messages, one a line in hexadecimal, as `bgp decode` takes them.
    #[arg(long)]
    hex: bool,
    /// The file; `-` is standard input.
    file: PathBuf,
}

impl Mrt {
    pub(super) fn exec(self, out: &mut Output<'_>) -> Result<Outcome, CommandError> {
        if self.file.as_os_str() == "-" {
            return self.read(io::stdin().lock(), "standard input", out);
        }
        let file = File::open(&self.file).map_err(|error| cannot("read", &self.file, &error))?;
        let name = self.file.display().to_string();
        self.read(BufReader::new(file), &name, out)
    }

    fn read(
        &self,
        input: impl Read,
        name: &str,
        out: &mut Output<'_>,
    ) -> Result<Outcome, CommandError> {
        let mut records = Records::new(input);
        let mut show = Show::default();
        let mut outcome = Outcome::Done;
        let (mut number, mut messages) = (0_u64, 0_u64);
        loop {
            let (header, body) = match records.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(fault) => {
                    // What stands before it is told first.
                    out.flush()?;
                    return Err(wrong(name, &fault));
                }
            };
            number += 1;
            let record = Record::decode(&header, body);
            if record.is_err() {
                outcome = Outcome::Degraded;
            }
            if !self.hex {
                show.record(&header, body, &record, out)?;
                continue;
            }
            match record {
                Ok(record) => {
                    if let Content::Message(message) = &record.content {
                        messages += 1;
                        hex(&record, message, out)?;
                    }
                }
                Err(why) => {
                    let mut stderr = io::stderr().lock();
                    let _ = writeln!(stderr, "wayleave: record {number}: {why}");
                }
            }
        }
        if self.hex && messages == 0 {
            let _ = writeln!(
                io::stderr(),
                "wayleave: no BGP messages in {} (records: {number})",
                printable(name)
            );
        }
        Ok(outcome)
    }
}

/// A message, and behind it whose it is: a comment to `bgp decode`.
fn hex(
    record: &Record<'_>,
    message: &Message<'_>,
    out: &mut Output<'_>,
) -> Result<(), CommandError> {
    let (verb, session) = (if message.local { "to" } else { "from" }, &message.session);
    write!(
        out,
        "{} # {} {verb} {} AS {}",
        Hex(message.octets.to_vec()),
        time(record.timestamp, record.micros),
        session.peer,
        session.peer_asn
    )?;
    // As far as `bgp decode` has to be told.
    if !message.as4 {
        write!(out, " --as2")?;
    }
    if message.add_path {
        write!(out, " --add-path ipv4,ipv6")?;
    }
    if !message.options().ebgp {
        write!(out, " --ibgp")?;
    }
    Ok(writeln!(out)?)
}

fn wrong(name: &str, fault: &Fault) -> CommandError {
    let what = match fault {
        Fault::Read(error) => format!("cannot read {name}: {}", io_reason(error)),
        Fault::Compressed(program) => {
            format!("{name} is compressed: `{program} -dc FILE | wayleave bgp mrt -` reads it")
        }
        Fault::CutOff {
            number: 1, there, ..
        } => format!("{name} is no MRT file: no record ends within its {there} octets"),
        Fault::CutOff {
            number,
            place,
            there,
            expected,
        } => format!(
            "{name} ends within record {number}, which begins at octet {place}: {there} octets of {expected}"
        ),
    };
    CommandError::Usage(what)
}
