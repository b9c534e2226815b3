//! ROUTE-REFRESH (RFC 2918, 3; RFC 7313, 4).
//!
//! ```text
//! +-------------------------------+---------------+---------------+
//! |              AFI              | Message       |     SAFI      |
//! |                               | Subtype       |               |
//! +-------------------------------+---------------+---------------+
//! ```

use serde::{Deserialize, Serialize};

use super::{
    header::{MessageKind, begin, finish},
    notification::{HeaderError, Notification, RefreshError},
};

/// A request for, or the bounds of, a fresh copy of everything advertised for a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RouteRefresh {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// [`Self::REQUEST`], [`Self::BEGIN`] or [`Self::END`]; others are to be ignored
    /// (RFC 7313, 5).
    pub subtype: u8,
}

impl RouteRefresh {
    /// Please send everything again (RFC 2918; RFC 7313, 3.2).
    pub const REQUEST: u8 = 0;
    /// Beginning of route refresh: what follows is everything (RFC 7313, 3.2).
    pub const BEGIN: u8 = 1;
    /// End of route refresh: what was not told again is gone (RFC 7313, 3.2).
    pub const END: u8 = 2;

    /// Reads a body. A request with an outbound route filter (RFC 5291) behind its four octets
    /// is read as a plain one: we do not offer that capability, so no peer may send one.
    ///
    /// # Errors
    /// 7/1 when a BEGIN or END is not four octets long (RFC 7313, 5); 1/2 when there are fewer
    /// than four (RFC 4271, 6.1), which [`super::frame`] has told before.
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let &[high, low, subtype, safi, ref more @ ..] = body else {
            return Err(Notification::header(HeaderError::BadLength));
        };
        if matches!(subtype, Self::BEGIN | Self::END) && !more.is_empty() {
            // The data is the complete message (RFC 7313, 5); its header is known by its body.
            let mut message = Vec::new();
            let start = begin(&mut message, MessageKind::RouteRefresh);
            message.extend_from_slice(body);
            finish(&mut message, start);
            let error = Notification::refresh_error(RefreshError::InvalidLength);
            return Err(error.with_data(message));
        }
        Ok(Self {
            afi: u16::from_be_bytes([high, low]),
            safi,
            subtype,
        })
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = begin(out, MessageKind::RouteRefresh);
        out.extend_from_slice(&self.afi.to_be_bytes());
        out.extend_from_slice(&[self.subtype, self.safi]);
        finish(out, start);
    }
}
