//! The speaker's news, as lines of the log.

use wayleave_bgp_core::news::{Event, News};

/// Writes one line. The level says whether an operator may have to do something.
pub(crate) fn write(news: &News) {
    let News {
        peer,
        address,
        event,
    } = news;
    match event {
        Event::Up { .. } | Event::Failed { refused: false, .. } => {
            tracing::info!("peer {peer} ({address}): {event}");
        }
        Event::Down { .. } | Event::Failed { .. } | Event::Malformed { .. } => {
            tracing::warn!("peer {peer} ({address}): {event}");
        }
    }
}
