//! Connections that can be cut: a call's own one, or all of them when the network is gone.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// The end of a connection that the server can cut.
#[derive(Clone, Debug, Default)]
pub struct Link(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    cut: AtomicBool,
    reader: AtomicWaker,
}

impl Link {
    /// Nothing more is written; the client sees the connection end.
    pub fn cut(&self) {
        self.0.cut.store(true, Ordering::SeqCst);
        self.0.reader.wake();
    }

    fn is_cut(&self) -> bool {
        self.0.cut.load(Ordering::SeqCst)
    }
}

/// All connections of a server.
#[derive(Debug, Default)]
pub struct Network {
    gone: AtomicBool,
    links: Mutex<Vec<Weak<Inner>>>,
}

impl Network {
    /// Without a network every connection ends and new ones end at once.
    pub fn set(&self, there: bool) {
        self.gone.store(!there, Ordering::SeqCst);
        if there {
            return;
        }
        for link in self.links().drain(..).filter_map(|link| link.upgrade()) {
            Link(link).cut();
        }
    }

    fn register(&self) -> Link {
        let link = Link::default();
        let mut links = self.links();
        links.retain(|other| other.strong_count() > 0);
        links.push(Arc::downgrade(&link.0));
        // Read under the lock, so that no connection slips past `set`.
        if self.gone.load(Ordering::SeqCst) {
            link.cut();
        }
        link
    }

    fn links(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Inner>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener whose connections can be cut.
pub struct Door {
    pub listener: TcpListener,
    pub network: Arc<Network>,
}

impl Listener for Door {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Line { stream, link: self.network.register() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Door>> for Link {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().link.clone()
    }
}

pub struct Line {
    stream: TcpStream,
    link: Link,
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.link.0.reader.register(context.waker());
        if self.link.is_cut() {
            return gone();
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.link.is_cut() {
            return gone();
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
