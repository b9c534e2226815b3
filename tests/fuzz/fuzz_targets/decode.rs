//! Octets, and text, as `wayleave bgp decode` takes them: what comes out is objects that can be made
//! into the same messages again, or an error with its place.
#![no_main]

use wayleave_bgp_core::{
    message::{Decoded, Hex, HexStream, InputError, Options, Step, next},
    wire::fuzz::decoded,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // The first octet says what the session has negotiated.
    decoded(data);
    if let Some((&cut, rest)) = data.split_first() {
        text_of(rest, cut);
        text(rest, cut);
    }
});

/// Octets written in hexadecimal give what they give themselves.
fn text_of(octets: &[u8], cut: u8) {
    let options = Options::default();
    let mut whole = Vec::new();
    let mut rest = octets;
    while let Step::Message(message, taken) = next(rest, &options, true) {
        whole.push(*message);
        rest = rest.get(taken..).unwrap_or_default();
    }
    let hex = Hex(octets.to_vec()).to_string();
    let (read, end) = read(hex.as_bytes(), usize::from(cut) + 1);
    assert_eq!(read, whole);
    assert_eq!(end.is_ok(), rest.is_empty());
}

/// Whatever stands there for hexadecimal text: in which pieces it comes makes no difference.
fn text(text: &[u8], cut: u8) {
    let whole = read(text, text.len().max(1));
    let pieces = read(text, usize::from(cut) + 1);
    assert_eq!(whole.0, pieces.0);
    match (whole.1, pieces.1) {
        (Ok(()), Ok(())) => {}
        (Err(one), Err(other)) => {
            assert!(!one.to_string().is_empty());
            // A character may lie in two pieces: then it is not named.
            match (&one, &other) {
                (
                    InputError::Digit { line, column, .. },
                    InputError::Digit {
                        line: there,
                        column: at,
                        ..
                    },
                ) => assert_eq!((line, column), (there, at)),
                _ => assert_eq!(one, other),
            }
        }
        (one, other) => panic!("{one:?} of the whole, {other:?} of its pieces"),
    }
}

fn read(text: &[u8], width: usize) -> (Vec<Decoded>, Result<(), InputError>) {
    let mut stream = HexStream::new(Options::default());
    let mut read = Vec::new();
    for piece in text.chunks(width) {
        let pushed = stream.push(piece);
        read.extend(stream.by_ref());
        if pushed.is_err() {
            return (read, pushed);
        }
    }
    stream.end();
    read.extend(stream.by_ref());
    let end = stream.rest();
    (read, end)
}
