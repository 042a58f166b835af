//! One call's share of the port.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use str0m::net::Transmit;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tracing::debug;

use super::switchboard::{Change, Datagram, Switchboard};

/// Addresses of one client that are remembered: more than it has networks.
const ADDRESSES_MAX: usize = 8;

/// Sends and receives for one call.
pub(super) struct Line {
    name: String,
    socket: Arc<UdpSocket>,
    /// The socket speaks IPv6, and IPv4 only in its clothes.
    wide: bool,
    /// Addresses of the server, as the client was told.
    own: Vec<SocketAddr>,
    /// Addresses of the client that the reader of the port knows.
    known: Vec<SocketAddr>,
    datagrams: mpsc::Receiver<Datagram>,
    changes: mpsc::Sender<Change>,
}

impl Line {
    pub(super) async fn open(switchboard: &Switchboard, name: &str) -> Self {
        let (datagrams, changes) = switchboard.open(name).await;
        Self {
            name: name.to_owned(),
            socket: switchboard.socket.clone(),
            wide: switchboard.socket.local_addr().is_ok_and(|address| address.is_ipv6()),
            own: switchboard.addresses.clone(),
            known: Vec::new(),
            datagrams,
            changes,
        }
    }

    /// The next datagram; `None` once nobody reads the port any more. Loses nothing when dropped before it is ready.
    pub(super) async fn recv(&mut self) -> Option<Datagram> {
        self.datagrams.recv().await
    }

    /// The address that what came from `from` was sent to. All of them are one socket, so any of its family is true.
    pub(super) fn own_address(&self, from: SocketAddr) -> Option<SocketAddr> {
        self.own.iter().copied().find(|own| own.is_ipv4() == from.is_ipv4())
    }

    /// Sends, or drops what the socket has no room for: as on any network, the other side asks again or does without.
    pub(super) fn send(&mut self, Transmit { destination, contents, .. }: &Transmit) {
        self.learn(*destination);
        if let Err(error) = self.socket.try_send_to(contents, self.dressed(*destination)) {
            debug!(%error, %destination, "a datagram could not be sent");
        }
    }

    /// The call answers to nobody who has not shown to know its password, so from here on this address is the client's.
    fn learn(&mut self, address: SocketAddr) {
        if self.known.contains(&address) {
            return;
        }
        // If there is no room, the next datagram to this address says it again.
        if self.changes.try_send(Change::At(address, self.name.clone())).is_ok() {
            if self.known.len() == ADDRESSES_MAX {
                self.known.remove(0);
            }
            self.known.push(address);
        }
    }

    fn dressed(&self, address: SocketAddr) -> SocketAddr {
        match address.ip() {
            IpAddr::V4(ip) if self.wide => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            _ => address,
        }
    }
}
