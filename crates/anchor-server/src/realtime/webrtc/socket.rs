//! The UDP port of all calls, and the addresses at which clients find it.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

/// A bound UDP port, ready to take calls.
#[derive(Debug)]
pub struct CallSocket {
    pub(super) socket: UdpSocket,
    /// Where clients can reach it, the best first.
    pub(super) addresses: Vec<SocketAddr>,
}

impl CallSocket {
    /// Binds `address`; port 0 takes any that is free. Clients are told to send to the addresses of this machine that it
    /// stands for, and before all to `public_ip`, where another device passes the port on from there.
    pub async fn bind(address: SocketAddr, public_ip: Option<IpAddr>) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        let bound = socket.local_addr()?;
        let own =
            if bound.ip().is_unspecified() { interfaces(bound.is_ipv6())? } else { vec![bound.ip().to_canonical()] };
        let own = own.into_iter().filter(|ip| Some(*ip) != public_ip);
        let addresses = public_ip.into_iter().chain(own).map(|ip| SocketAddr::new(ip, bound.port())).collect();
        Ok(Self { socket, addresses })
    }

    /// The port it is bound to.
    pub fn port(&self) -> u16 {
        self.addresses.first().map_or(0, SocketAddr::port)
    }
}

/// The addresses of this machine's interfaces; those of the loopback only where there is no other.
fn interfaces(both_families: bool) -> io::Result<Vec<IpAddr>> {
    let all: Vec<IpAddr> = if_addrs::get_if_addrs()?
        .iter()
        .map(if_addrs::Interface::ip)
        .filter(|ip| both_families || ip.is_ipv4())
        // An address that means something on one link only would have to name the link.
        .filter(|ip| !matches!(ip, IpAddr::V6(ip) if is_link_local(ip)))
        .collect();
    let outer: Vec<IpAddr> = all.iter().copied().filter(|ip| !ip.is_loopback()).collect();
    Ok(if outer.is_empty() { all } else { outer })
}

fn is_link_local(ip: &Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_on_the_loopback_is_offered_there_alone_and_the_public_address_before_all() {
        let socket = CallSocket::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        assert_eq!(socket.addresses, [SocketAddr::new("127.0.0.1".parse().unwrap(), socket.port())]);
        let public = "203.0.113.7".parse().unwrap();
        let socket = CallSocket::bind("127.0.0.1:0".parse().unwrap(), Some(public)).await.unwrap();
        assert_eq!(socket.addresses[0], SocketAddr::new(public, socket.port()));
        assert_eq!(socket.addresses.len(), 2);
    }

    #[tokio::test]
    async fn a_port_on_every_address_is_offered_at_addresses_that_others_can_send_to() {
        let socket = CallSocket::bind("0.0.0.0:0".parse().unwrap(), None).await.unwrap();
        assert!(!socket.addresses.is_empty());
        assert!(socket.addresses.iter().all(|address| address.is_ipv4() && !address.ip().is_unspecified()));
    }
}
