//! The least HTTP that a test needs: one GET per connection, over any stream.

use std::io::{Read, Write};

use serde_json::Value;

use crate::error::LabError;
use crate::host::parse_json;

/// An answer, its body taken out of whatever encoding it travelled in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks for a path and reads the answer to its end.
pub(crate) fn get(mut stream: impl Read + Write, path: &str) -> Result<Answer, LabError> {
    let refused = |e| LabError::system(format!("GET {path}"), e);
    let request = format!("GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(refused)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(refused)?;
    parse(&bytes).ok_or_else(|| {
        let text = String::from_utf8_lossy(&bytes);
        LabError::shape(
            format!("GET {path}"),
            format!("not an HTTP answer: {text:?}"),
        )
    })
}

/// Asks for a path that answers in JSON.
pub(crate) fn get_json(stream: impl Read + Write, path: &str) -> Result<Value, LabError> {
    let Answer { status, body } = get(stream, path)?;
    if !(200..300).contains(&status) {
        return Err(LabError::Http {
            path: path.to_owned(),
            status,
            body,
        });
    }
    parse_json(&format!("GET {path}"), &body)
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let body = &bytes[end + 4..];
    let status = head
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    let field = |name: &str| {
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find_map(|(key, value)| {
                key.eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_ascii_lowercase())
            })
    };
    let body = if field("transfer-encoding").as_deref() == Some("chunked") {
        unchunk(body)?
    } else if let Some(length) = field("content-length") {
        // Less than promised is a broken answer, not a short one.
        body.get(..length.parse().ok()?)?.to_vec()
    } else {
        body.to_vec()
    };
    Some(Answer {
        status,
        body: String::from_utf8(body).ok()?,
    })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        let start = end + 2;
        body.extend_from_slice(rest.get(start..start.checked_add(size)?)?);
        rest = rest.get(start + size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_every_encoding() {
        let cases: [(&str, Option<(u16, &str)>); 6] = [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello",
                Some((200, "he")),
            ),
            ("HTTP/1.0 404 Not Found\r\n\r\ngone", Some((404, "gone"))),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                Some((200, "abcde")),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nshort", None),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                None,
            ),
            ("nothing of the kind", None),
        ];
        for (text, expected) in cases {
            let answer = parse(text.as_bytes());
            let expected = expected.map(|(status, body)| Answer {
                status,
                body: body.to_owned(),
            });
            assert_eq!(answer, expected, "{text:?}");
        }
    }
}
