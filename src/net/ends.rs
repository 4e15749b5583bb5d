//! The end of a connection: counted once, logged once, and said aloud where an operator has something to turn.

use super::Shared;
use crate::addresses::Peer;
use crate::close_reason::CloseReason;
use crate::session::site::Warned;
use crate::time::Time;

/// When it was last said aloud that connections are turned away.
#[derive(Debug, Default)]
pub struct Ends {
    address_limit: Warned,
    full: Warned,
    no_descriptors: Warned,
}

impl Shared {
    /// A connection is over, or was turned away. `cause`: what exactly led to it.
    pub fn note_end(&self, now: Time, reason: CloseReason, peer: &Peer, cause: Option<&str>) {
        self.metrics.closes.inc(reason);
        let cause = cause.map(tracing::field::display);
        tracing::debug!(reason = reason.name(), %peer, cause, "a connection ended");
        self.warn(now, reason, peer);
    }

    fn warn(&self, now: Time, reason: CloseReason, peer: &Peer) {
        let is_due = |warned: &Warned| warned.is_due(now);
        let max = self.connections_max;
        match reason {
            CloseReason::Full if is_due(&self.ends.full) => tracing::warn!(
                "full: new connections are answered 503; --max-connections {max} is the limit, or one io thread lags"
            ),
            CloseReason::NoDescriptors if is_due(&self.ends.no_descriptors) => tracing::warn!(
                "out of descriptors: new connections are answered 503; raise the limit (ulimit -n), or lower --max-connections {max}"
            ),
            CloseReason::AddressLimit if is_due(&self.ends.address_limit) => tracing::warn!(
                "{} has as many connections as one address may: more are answered 503; --max-connections-per-address is the \
                 limit, and if that is a proxy, name it with --trusted-proxy",
                peer.client()
            ),
            _ => {}
        }
    }
}
