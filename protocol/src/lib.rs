//! What crosses the wire between a Tickyard server and its clients.
