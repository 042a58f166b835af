//! Who a datagram is for: one task reads the port of all calls and hands each datagram to its call.
//!
//! A call is known by the name it has in its clients' connectivity checks (RFC 8445, 7.2.2), and by every address it has
//! answered to, which it does only where a check was signed with the call's password. Everything else is dropped unread.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use str0m::config::{CryptoProvider, DtlsCert};
use str0m::ice::StunMessage;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::socket::CallSocket;

/// Datagrams that may wait for a call: about a second of sound. Later ones are lost, as on any network.
const WAITING_MAX: usize = 64;

/// Changes that may wait for the reader of the port.
const CHANGES_MAX: usize = 64;

/// Longest datagram that is read whole; what WebRTC sends fits an Ethernet frame.
const DATAGRAM_MAX: usize = 2048;

/// Wait before the port is read again where that failed.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// The port of all calls, at work.
pub(crate) struct Switchboard {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) crypto: Arc<CryptoProvider>,
    /// Shows in every call that it is this server: clients have its fingerprint from the answer to their offer.
    pub(super) certificate: DtlsCert,
    changes: mpsc::Sender<Change>,
}

/// What came for a call.
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) bytes: Box<[u8]>,
}

/// What the reader of the port is told.
pub(super) enum Change {
    /// There is a call of this name.
    Open(String, mpsc::Sender<Datagram>),
    /// What comes from this address belongs to the call of this name.
    At(SocketAddr, String),
}

impl Switchboard {
    /// Starts to read. Ends once it and all its calls are dropped.
    pub(crate) fn start(CallSocket { socket, addresses }: CallSocket) -> io::Result<Self> {
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = crypto.dtls_provider.generate_certificate();
        let certificate = certificate.ok_or_else(|| io::Error::other("no certificate could be made for calls"))?;
        let socket = Arc::new(socket);
        let (changes, told) = mpsc::channel(CHANGES_MAX);
        tokio::spawn(read(socket.clone(), told));
        Ok(Self { socket, addresses, crypto, certificate, changes })
    }

    /// Puts a call on the board. Its client may send as soon as this returns.
    pub(super) async fn open(&self, name: &str) -> (mpsc::Receiver<Datagram>, mpsc::Sender<Change>) {
        let (call, datagrams) = mpsc::channel(WAITING_MAX);
        // The reader goes on as long as there is a board.
        let _ = self.changes.send(Change::Open(name.to_owned(), call)).await;
        (datagrams, self.changes.clone())
    }
}

/// Reads until nobody is left to be told.
async fn read(socket: Arc<UdpSocket>, mut told: mpsc::Receiver<Change>) {
    let mut board = Board::default();
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        tokio::select! {
            biased;
            change = told.recv() => match change {
                Some(change) => board.change(change),
                None => return,
            },
            read = socket.recv_from(&mut buffer) => match read {
                Ok((length, from)) => board.deliver(canonical(from), &buffer[..length]),
                Err(error) => {
                    warn!(%error, "the port of the calls could not be read");
                    tokio::time::sleep(READ_PAUSE).await;
                }
            },
        }
    }
}

/// Who has which name and which addresses. A call that has ended is known by its closed queue.
#[derive(Default)]
struct Board {
    names: HashMap<String, mpsc::Sender<Datagram>>,
    addresses: HashMap<SocketAddr, mpsc::Sender<Datagram>>,
}

impl Board {
    fn change(&mut self, change: Change) {
        match change {
            Change::Open(name, call) => {
                self.names.retain(|_, call| !call.is_closed());
                self.addresses.retain(|_, call| !call.is_closed());
                self.names.insert(name, call);
            }
            Change::At(address, name) => {
                if let Some(call) = self.names.get(&name) {
                    self.addresses.insert(address, call.clone());
                }
            }
        }
    }

    fn deliver(&self, from: SocketAddr, bytes: &[u8]) {
        let call = match named(bytes) {
            Some(name) => self.names.get(&name),
            None => self.addresses.get(&from),
        };
        let Some(call) = call else { return };
        if call.try_send(Datagram { from, bytes: bytes.into() }).is_err() {
            debug!(%from, "a datagram was dropped: its call has ended or is busy");
        }
    }
}

/// The call that a connectivity check asks for. The first byte tells STUN from all else (RFC 7983).
fn named(bytes: &[u8]) -> Option<String> {
    if bytes.first()? > &3 {
        return None;
    }
    let message = StunMessage::parse(bytes).ok()?;
    message.is_binding_request().then(|| message.split_username().map(|(name, _)| name.to_owned()))?
}

/// IPv4 as IPv4, also on a socket for both families.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOMEBODY: &str = "192.0.2.1:1000";

    #[test]
    fn a_datagram_reaches_the_call_that_answered_to_its_sender_and_nobody_else() {
        let mut board = Board::default();
        let (one, mut of_one) = mpsc::channel(4);
        let (two, mut of_two) = mpsc::channel(4);
        board.change(Change::Open("one".into(), one));
        board.change(Change::Open("two".into(), two));
        let from: SocketAddr = SOMEBODY.parse().unwrap();
        board.deliver(from, &[128, 1, 2]);
        board.change(Change::At(from, "two".into()));
        board.deliver(from, &[128, 1, 2]);
        assert!(of_one.try_recv().is_err());
        assert_eq!(&*of_two.try_recv().unwrap().bytes, [128, 1, 2]);
        assert!(of_two.try_recv().is_err());
    }

    #[test]
    fn calls_that_have_ended_are_forgotten_with_the_next() {
        let mut board = Board::default();
        let (one, of_one) = mpsc::channel(4);
        board.change(Change::Open("one".into(), one));
        board.change(Change::At(SOMEBODY.parse().unwrap(), "one".into()));
        drop(of_one);
        let (two, _of_two) = mpsc::channel(4);
        board.change(Change::Open("two".into(), two));
        assert_eq!((board.names.len(), board.addresses.len()), (1, 0));
    }

    proptest! {
        #[test]
        fn noise_names_no_call(mut bytes in proptest::collection::vec(any::<u8>(), 0..100), first in 0u8..8) {
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            prop_assert_eq!(named(&bytes), None);
        }
    }
}
