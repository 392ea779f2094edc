//! Connections that can be cut: a call's own one, or all of them when the network is gone.

use std::io;
use std::net::{Shutdown, TcpStream as StdStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};

/// The end of a connection that the server can cut.
#[derive(Clone, Debug)]
pub struct Link(Arc<StdStream>);

impl Link {
    /// Nothing more is read or written; the client sees the connection end.
    pub fn cut(&self) {
        // An error says that the other end was faster.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// All connections of a server.
#[derive(Debug, Default)]
pub struct Network {
    gone: AtomicBool,
    links: Mutex<Vec<Weak<StdStream>>>,
}

impl Network {
    /// Without a network every connection ends and new ones end at once.
    pub fn set(&self, there: bool) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        self.gone.store(!there, Ordering::SeqCst);
        if !there {
            links.drain(..).filter_map(|link| link.upgrade()).for_each(|link| Link(link).cut());
        }
    }

    /// Takes a connection in: a second handle on it lets it be cut while it is in use.
    pub fn register(&self, stream: TcpStream) -> io::Result<(TcpStream, Link)> {
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let link = Link(Arc::new(stream.try_clone()?));
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|other| other.strong_count() > 0);
        links.push(Arc::downgrade(&link.0));
        // Read under the lock, so that no connection slips past `set`.
        if self.gone.load(Ordering::SeqCst) {
            link.cut();
        }
        Ok((TcpStream::from_std(stream)?, link))
    }
}

/// A listener whose connections can be cut.
pub struct Door {
    pub listener: TcpListener,
    pub network: Arc<Network>,
}

impl Listener for Door {
    type Io = TcpStream;
    type Addr = Link;

    async fn accept(&mut self) -> (TcpStream, Link) {
        loop {
            let (stream, _) = Listener::accept(&mut self.listener).await;
            // A connection that ended before it began.
            let Ok(registered) = self.network.register(stream) else { continue };
            return registered;
        }
    }

    fn local_addr(&self) -> io::Result<Link> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Connected<IncomingStream<'_, Door>> for Link {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}
