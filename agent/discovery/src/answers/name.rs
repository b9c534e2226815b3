//! A name as it is asked for, made comparable without an allocation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A domain name in lower case, with dots between its labels and none at the end.
///
/// An octet that stands in none of our names becomes a question mark, which stands in none either: such a name
/// is found to be missing, or of another zone, as it is.
#[derive(Copy, Clone)]
pub struct QueryName {
    text: [u8; Self::MAX],
    len: usize,
}

impl QueryName {
    /// RFC 1035, section 3.1: 255 octets on the wire; the text form is shorter.
    const MAX: usize = 255;

    /// The name with these labels, leftmost first, without the root's. None when it is too long to be one.
    #[must_use]
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut name = Self {
            text: [0; Self::MAX],
            len: 0,
        };
        for (position, label) in labels.into_iter().enumerate() {
            if position > 0 {
                name.push(b'.')?;
            }
            for octet in label {
                name.push(match octet.to_ascii_lowercase() {
                    octet @ (b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') => octet,
                    _ => b'?',
                })?;
            }
        }
        Some(name)
    }

    /// The name in a text, with or without a final dot.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        Self::from_labels(text.split('.').map(str::as_bytes))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..self.len).unwrap_or_default();
        // Only ASCII is ever put in.
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// What stands before an origin, without the dot; empty for the origin itself. None outside of it.
    #[must_use]
    pub fn within(&self, origin: &str) -> Option<&str> {
        let rest = self.as_str().strip_suffix(origin)?;
        if rest.is_empty() {
            Some(rest)
        } else {
            rest.strip_suffix('.')
        }
    }

    fn push(&mut self, octet: u8) -> Option<()> {
        *self.text.get_mut(self.len)? = octet;
        self.len += 1;
        Some(())
    }
}

impl std::fmt::Debug for QueryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

/// Reads the label [`address_label`](crate::codec::address_label) writes, and only that spelling.
pub(super) fn parse_address_label(label: &str) -> Option<IpAddr> {
    let address = match label.split('-').count() {
        4 => label.replace('-', ".").parse::<Ipv4Addr>().ok()?.into(),
        8 => label.replace('-', ":").parse::<Ipv6Addr>().ok()?.into(),
        _ => return None,
    };
    (crate::codec::address_label(address) == label).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_only_at_label_borders() {
        let name = QueryName::from_text("Web.Default.SVC.wayleave.internal.").expect("a name");
        assert_eq!(name.within("wayleave.internal"), Some("web.default.svc"));
        assert_eq!(name.within("ave.internal"), None);
        let apex = QueryName::from_text("wayleave.internal").expect("a name");
        assert_eq!(apex.within("wayleave.internal"), Some(""));
        assert_eq!(
            QueryName::from_text("xwayleave.internal")
                .expect("a name")
                .within("wayleave.internal"),
            None
        );
    }

    #[test]
    fn a_dot_within_a_label_is_not_a_border() {
        let name = QueryName::from_labels([&b"web.default"[..], b"svc", b"zone"]).expect("a name");
        assert_eq!(name.as_str(), "web?default.svc.zone");
    }

    #[test]
    fn too_many_octets_are_no_name() {
        let label = [b'a'; 63];
        assert!(
            QueryName::from_labels([&label[..]; 4]).is_some_and(|name| name.as_str().len() == 255)
        );
        assert!(QueryName::from_labels([&label[..]; 5]).is_none());
    }

    #[test]
    fn address_labels_are_read_in_one_spelling_only() {
        assert_eq!(parse_address_label("10-1-7-2"), "10.1.7.2".parse().ok());
        assert_eq!(
            parse_address_label("fd00-0-0-0-0-0-0-a"),
            "fd00::a".parse().ok()
        );
        for wrong in [
            "10-1-7",
            "010-1-7-2",
            "fd00--a",
            "fd00-0-0-0-0-0-0-0a",
            "",
            "a-b-c-d",
            "FD00-0-0-0-0-0-0-a",
        ] {
            assert_eq!(parse_address_label(wrong), None, "{wrong:?}");
        }
    }
}
