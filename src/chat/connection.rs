//! How the connection to a platform stands.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The platform is not set up.
    Off,
    Connecting,
    Connected,
    Lost {
        reason: String,
    },
}
