//! Records out of a file, one at a time: no more of it is held than one record has.

use std::io::{self, Read};

use wayleave_bgp_core::mrt::{HEADER_LEN, Header, MAX_RECORD};

/// Why there is no next record.
#[derive(Debug)]
pub(super) enum Fault {
    Read(io::Error),
    /// It begins as files do that this program has compressed.
    Compressed(&'static str),
    /// It ends in the middle of a record.
    CutOff {
        /// Which record, from 1 on.
        number: u64,
        /// Where it begins, from 0 on.
        place: u64,
        there: u64,
        expected: u64,
    },
}

/// The records of a file.
pub(super) struct Records<R> {
    input: R,
    number: u64,
    place: u64,
    body: Vec<u8>,
}

impl<R: Read> Records<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            number: 0,
            place: 0,
            body: Vec::new(),
        }
    }

    /// The next record: its header, and what follows that. Of one that is longer than any is
    /// ([`MAX_RECORD`]) nothing is held: it is passed over.
    pub(super) fn next(&mut self) -> Result<Option<(Header, &[u8])>, Fault> {
        let mut octets = [0; HEADER_LEN];
        let there = fill(&mut self.input, &mut octets).map_err(Fault::Read)?;
        if there == 0 {
            return Ok(None);
        }
        self.number += 1;
        let cut_off = |number, place, there, body: u64| Fault::CutOff {
            number,
            place,
            there,
            expected: HEADER_LEN as u64 + body,
        };
        if there < HEADER_LEN {
            return Err(cut_off(self.number, self.place, there as u64, 0));
        }
        let header = Header::decode(&octets);
        if self.number == 1
            && let Some(program) = compressed_by(&octets)
        {
            return Err(Fault::Compressed(program));
        }
        let length = u64::from(header.length);
        let mut rest = self.input.by_ref().take(length);
        self.body.clear();
        let read = if header.length > MAX_RECORD {
            io::copy(&mut rest, &mut io::sink())
        } else {
            // Grown as octets come: the length alone is no reason to allocate.
            rest.read_to_end(&mut self.body).map(|read| read as u64)
        };
        let read = read.map_err(Fault::Read)?;
        if read < length {
            let there = HEADER_LEN as u64 + read;
            return Err(cut_off(self.number, self.place, there, length));
        }
        self.place += HEADER_LEN as u64 + length;
        Ok(Some((header, &self.body)))
    }
}

/// Reads until the buffer is full or nothing is left; how much there was.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut there = 0;
    while let Some(rest) = buffer.get_mut(there..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(read) => there += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(there)
}

/// By the octets that such files begin with. As times of records they are years in which there were
/// none, but for bzip2's, which are 2005: what follows there is the type of no record.
fn compressed_by(octets: &[u8; HEADER_LEN]) -> Option<&'static str> {
    match *octets {
        [0x1F, 0x8B, 8, ..] => Some("gzip"),
        [b'B', b'Z', b'h', _, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Some("bzip2"),
        [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Some("zstd"),
        _ => None,
    }
}
